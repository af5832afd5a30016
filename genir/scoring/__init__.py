"""Experts that score documents for a query beside the model, and the indexes they read."""

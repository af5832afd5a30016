"""Stages of the pipeline: skipped when up to date, recorded when run, and their common command line."""

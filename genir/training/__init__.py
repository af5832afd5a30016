"""Training: supervised fine-tuning and refinement on candidate lists, both resumable with identical results."""

"""Training: supervised fine-tuning and refinement on candidate lists, resumable to the same weights."""

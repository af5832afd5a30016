"""T5's decoder for many partial docids at once, and the loading of Hugging Face models."""

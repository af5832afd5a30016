"""The stages of the pipeline, which are skipped if they are up to date, and their common command line."""

"""Code that the benchmark programs in eval/ share."""

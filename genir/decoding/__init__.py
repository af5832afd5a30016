"""Trie-constrained beam search over docids."""

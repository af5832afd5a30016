"""The prefix tree over all docids, and the beam search that it constrains."""

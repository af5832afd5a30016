"""Ragged batches: rows of several queries, grouped by query, and their padded form with one line per query."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class RaggedLayout(NamedTuple):
    """The assignment of n rows to queries, for queries with different numbers of rows.

    Rows are grouped by query, in the order of the queries. In the padded form [num_queries, width, ...], row i is at
    [query[i], column[i]].

    query, column [n]: line and column of each row in the padded form. num_queries, width: its size. is_uniform: all
    queries have the same number of rows, so that nothing is padded.
    """

    query: Tensor
    column: Tensor
    num_queries: int
    width: int
    is_uniform: bool

    @classmethod
    def from_lengths(cls, lengths: Sequence[int], on_device: Tensor | torch.device) -> "RaggedLayout":
        """Create the layout in which query i has lengths[i] rows.

        on_device: the same lengths as a tensor on the device, or only the device. Without the tensor, the lengths are
        copied, which waits for a GPU.
        """
        counts = on_device if isinstance(on_device, Tensor) else torch.tensor(lengths, device=on_device)
        device = counts.device
        total, width = sum(lengths), max(lengths)
        query = torch.repeat_interleave(counts, output_size=total)
        column = torch.arange(total, device=device) - (counts.cumsum(0) - counts)[query]
        return cls(query, column, len(lengths), width, min(lengths) == width)

    @classmethod
    def uniform(cls, num_queries: int, width: int, device: torch.device) -> "RaggedLayout":
        """Create the layout in which each query has `width` rows; nothing is copied from the CPU."""
        index = torch.arange(num_queries * width, device=device)
        return cls(index // width, index % width, num_queries, width, True)

    def pad(self, rows: Tensor, fill: float = 0) -> Tensor:
        """Convert rows [n, ...] to the padded form [num_queries, width, ...], with `fill` as padding."""
        if self.is_uniform:
            return rows.view(self.num_queries, self.width, *rows.shape[1:])
        padded = rows.new_full((self.num_queries, self.width, *rows.shape[1:]), fill)
        padded[self.query, self.column] = rows
        return padded

    def unpad(self, padded: Tensor) -> Tensor:
        """Convert the padded form [num_queries, width, ...] back to rows [n, ...]."""
        return padded.flatten(0, 1) if self.is_uniform else padded[self.query, self.column]

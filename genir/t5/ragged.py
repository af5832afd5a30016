"""Rows of several queries, one after another, and the same rows as a matrix with a line a query."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Shares(NamedTuple):
    """Which query each of n decoder rows belongs to, in the order of queries: query, place [n] are a row's line and
    column in a matrix of `lines` lines and `width` columns; even: it has no holes.
    """

    query: Tensor
    place: Tensor
    lines: int
    width: int
    even: bool

    @classmethod
    def of(cls, counts: Sequence[int], there: Tensor | torch.device) -> "Shares":
        """The first counts[0] rows belong to query 0, the next counts[1] to query 1, and so on. there: the same counts
        on the device, or the device: to copy them to a GPU means to wait for it.
        """
        rows = there if isinstance(there, Tensor) else torch.tensor(counts, device=there)
        device = rows.device
        total, width = sum(counts), max(counts)
        query = torch.repeat_interleave(rows, output_size=total)
        place = torch.arange(total, device=device) - (rows.cumsum(0) - rows)[query]
        return cls(query, place, len(counts), width, min(counts) == width)

    @classmethod
    def even_of(cls, lines: int, width: int, device: torch.device) -> "Shares":
        """`width` rows for each of `lines` queries; nothing is copied from the CPU."""
        place = torch.arange(lines * width, device=device)
        return cls(place // width, place % width, lines, width, True)

    def matrix(self, flat: Tensor, fill: float = 0) -> Tensor:
        """[n, ...] -> [lines, width, ...], `fill` in the holes."""
        if self.even:
            return flat.view(self.lines, self.width, *flat.shape[1:])
        made = flat.new_full((self.lines, self.width, *flat.shape[1:]), fill)
        made[self.query, self.place] = flat
        return made

    def flat(self, matrix: Tensor) -> Tensor:
        """[lines, width, ...] -> [n, ...]."""
        return matrix.flatten(0, 1) if self.even else matrix[self.query, self.place]

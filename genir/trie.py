"""The prefix tree over all docids, as sorted arrays.

Nodes of one depth are numbered in the lexicographic order of their prefixes, so the children of a node are a range of
the nodes one level down. For N docids of L codes this takes at most 12 bytes a node and no Python object a node.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Level(NamedTuple):
    """The nodes of one depth. code [n] int64: last code of each node's prefix; children [n + 1] int64: node i has the
    children children[i] .. children[i + 1] - 1 one level down (leaves: the range of its documents in `Trie.rows`).
    """

    code: Tensor
    children: Tensor


class Trie:
    """levels[m] holds the prefixes of length m; levels[0] is the root, levels[L] are the docids.

    rows [N]: row of the docid table for each document in docid order; documents that share a docid stand together,
    in the collection's order.
    """

    def __init__(self, levels: Sequence[Level], rows: NDArray[np.int64]) -> None:
        self.levels = list(levels)
        self.rows = rows

    @classmethod
    def from_codes(cls, codes: NDArray[np.integer]) -> "Trie":
        """Build from codes [N, L], N and L at least 1."""
        count, depth = codes.shape
        if count == 0 or depth == 0:
            raise ValueError(f"a trie needs at least one docid of one code, not {codes.shape}")
        order = np.lexsort(codes.T[::-1])
        ordered = codes[order]
        new = np.zeros(count, bool)  # does row i begin a new prefix of the length reached so far?
        new[0] = True
        starts, last = [np.zeros(1, np.int64)], [np.zeros(1, np.int64)]
        for level in range(depth):
            new[1:] |= ordered[1:, level] != ordered[:-1, level]
            start = np.flatnonzero(new)
            starts.append(start)
            last.append(ordered[start, level].astype(np.int64))
        starts.append(np.arange(count))
        levels = []
        for depth_now, code in enumerate(last):
            ends = np.append(starts[depth_now], count)
            children = np.searchsorted(starts[depth_now + 1], ends)
            levels.append(Level(torch.from_numpy(code), torch.from_numpy(children)))
        return cls(levels, order)

    @property
    def depth(self) -> int:
        """Codes in a docid."""
        return len(self.levels) - 1

    @property
    def size(self) -> int:
        """Number of distinct docids."""
        return len(self.levels[-1].code)

    def documents(self, leaf: int) -> NDArray[np.int64]:
        """Rows of the docid table that hold docid number `leaf`."""
        children = self.levels[-1].children
        return self.rows[int(children[leaf]) : int(children[leaf + 1])]

    def expand(self, level: int, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """All children of `nodes` [n] at depth `level`: (owner [c]: index into nodes, child [c]: node at level + 1),
        in the order of nodes, then of codes.
        """
        first = self.levels[level].children[nodes]
        counts = self.levels[level].children[nodes + 1] - first
        owner = torch.repeat_interleave(torch.arange(len(nodes), device=nodes.device), counts)
        before = torch.cumsum(counts, 0) - counts
        child = first[owner] + torch.arange(len(owner), device=nodes.device) - before[owner]
        return owner, child

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie with its arrays on a device."""
        return Trie([Level(x.code.to(device), x.children.to(device)) for x in self.levels], self.rows)

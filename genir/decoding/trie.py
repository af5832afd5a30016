"""The prefix tree over all docids, as sorted arrays: a node is a range of docids that share their first codes.

U distinct docids of at most L codes take U * (L + 4) bytes with codes of one byte, and no Python object a node. Readers
map the saved file into memory, so that several processes hold it once.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from genir.docids.order import Array, compact, lengths, order_docids
from genir.errors import GenirError
from genir.files import atomic_file, reading_own_file


class Children(NamedTuple):
    """Nodes one level down, [c] each: owner, index of the node each belongs to; docids first .. last - 1 are below it;
    code, its last code.
    """

    owner: Tensor
    first: Tensor
    last: Tensor
    code: Tensor


class Allowed(NamedTuple):
    """A part of the docids: leaves [A], their rising numbers; documents [A], how many documents with each count."""

    leaves: Tensor
    documents: Tensor

    def to(self, device: torch.device | str) -> "Allowed":
        """The same on a device."""
        return Allowed(self.leaves.to(device), self.documents.to(device))

    def has(self, leaves: Tensor) -> Tensor:
        """Whether each of some docids [n] is allowed."""
        return self.leaves[torch.searchsorted(self.leaves, leaves).clamp(max=len(self.leaves) - 1)] == leaves

    def narrow(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Nodes [n] of docids first .. last - 1 without what is not allowed at both ends; first = last where nothing
        is left.
        """
        begin, end = torch.searchsorted(self.leaves, first), torch.searchsorted(self.leaves, last)
        narrow = self.leaves[begin.clamp(max=len(self.leaves) - 1)]
        return narrow, torch.where(end > begin, self.leaves[end - 1] + 1, narrow)


class Trie:
    """codes [U, L]: the docids in order, -1 after the end of shorter ones. splits[m]: the places i, rising, where docid
    i shares exactly m codes with the one before it, and U at the end.

    rows [N]: row of the docid table for each document in docid order. starts [U + 1]: where each docid's documents
    begin in `rows`; None when each docid has one. Documents that share a docid stand in the collection's order.
    """

    def __init__(self, codes: Tensor, splits: Sequence[Tensor], rows: Tensor, starts: Tensor | None) -> None:
        self.codes = codes
        self.splits = list(splits)
        self.rows = rows
        self.starts = starts

    @classmethod
    def from_codes(cls, codes: Array) -> "Trie":
        """Build from codes [N, L], N and L at least 1.

        Raises GenirError when a docid is a prefix of another, which no search could tell from its end.
        """
        count, depth = codes.shape
        if count == 0 or depth == 0:
            raise ValueError(f"a trie needs at least one docid of one code, not {codes.shape}")
        codes = compact(codes)
        order, shared = order_docids(codes)
        distinct = np.append(True, shared[1:-1] < depth)
        starts = None
        if distinct.all():
            unique = codes[order]
        else:
            begins = np.flatnonzero(distinct)
            unique, shared = codes[order[begins]], np.append(shared[begins], np.uint8(0))
            starts = torch.from_numpy(np.append(begins, count).astype(np.int32))
        _require_prefix_free(unique, shared)
        end = np.int32(len(unique))
        splits = [np.flatnonzero(shared[1:-1] == level).astype(np.int32) + 1 for level in range(depth)]
        closed = [torch.from_numpy(np.append(split, end)) for split in splits]
        return cls(torch.from_numpy(unique), closed, torch.from_numpy(order), starts)

    @property
    def depth(self) -> int:
        """Codes in the longest docid."""
        return self.codes.shape[1]

    @property
    def size(self) -> int:
        """Number of distinct docids."""
        return len(self.codes)

    def documents(self, leaf: int) -> Array:
        """Rows of the docid table that hold docid number `leaf`."""
        first, last = (leaf, leaf + 1) if self.starts is None else self.starts[leaf : leaf + 2].tolist()
        rows: Array = self.rows[first:last].numpy()
        return rows

    def leaves(self, rows: Array) -> Tensor:
        """The docids of some rows of the docid table, as rising numbers, each once."""
        return self.allow(rows).leaves

    def allow(self, rows: Array) -> "Allowed":
        """Only these rows of the docid table."""
        wanted = np.zeros(len(self.rows), bool)
        wanted[rows] = True
        places = np.flatnonzero(wanted[self.rows.numpy()])
        if self.starts is not None:
            places = np.searchsorted(self.starts.numpy(), places, side="right") - 1
        leaves, documents = np.unique(places, return_counts=True)
        return Allowed(torch.from_numpy(leaves), torch.from_numpy(documents))

    def documents_of(self, leaves: Tensor, allowed: Allowed | None = None) -> Tensor:
        """How many documents hold each of these docids, [...] as they are; with `allowed`, only those count."""
        if allowed is not None:
            return allowed.documents[torch.searchsorted(allowed.leaves, leaves).clamp(max=len(allowed.leaves) - 1)]
        return (
            torch.ones_like(leaves) if self.starts is None else (self.starts[leaves + 1] - self.starts[leaves]).long()
        )

    def children(self, level: int, first: Tensor, last: Tensor) -> Tensor:
        """How many children the nodes [n] of docids first .. last - 1, which share `level` codes, have; empty ones have
        none.
        """
        return self._inside(level, first, last)[1]

    def _inside(self, level: int, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """The first split inside each node, and how many children it has."""
        split = self.splits[level]
        inside = torch.searchsorted(split, first.to(split.dtype), right=True)
        return inside, (torch.searchsorted(split, last.to(split.dtype)) - inside + 1) * (first < last)

    def expand(self, level: int, first: Tensor, last: Tensor, total: int | None = None) -> Children:
        """All children of the nodes [n] of docids first .. last - 1, which share their first `level` codes; in the
        order of nodes, then of codes. total: how many there are; where it is known, a GPU need not be waited for. If it
        is too many, the last node must be an empty one, and so are those that are then its children.
        """
        split = self.splits[level]
        inside, counts = self._inside(level, first, last)
        ends = counts.cumsum(0)
        starts = ends - counts
        if total is not None:
            counts[-1:] += total - ends[-1:]
        owner = torch.repeat_interleave(counts, output_size=total)
        place = torch.arange(len(owner), device=first.device) - starts[owner]
        end = (inside[owner] + place).clamp(max=len(split) - 1)
        begin = torch.where(place == 0, first[owner], split[end - 1]).clamp(max=self.size - 1)  # if no docids part here
        return Children(
            owner, begin, torch.minimum(split[end].to(last.dtype), last[owner]), self.codes[begin, level].long()
        )

    @property
    def even(self) -> bool:
        """Whether all docids certainly have the same length (told by the type of their codes, which has no -1)."""
        return self.codes.dtype == torch.uint8

    def ended(self, level: int, first: Tensor) -> Tensor:
        """Whether the docids [n] have no code at `level` any more."""
        if level >= self.depth:
            return torch.ones_like(first, dtype=torch.bool)
        return self.codes[first, level] < 0

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie with the arrays that a search reads on a device."""
        starts = None if self.starts is None else self.starts.to(device)
        return Trie(self.codes.to(device), [split.to(device) for split in self.splits], self.rows, starts)

    def save(self, path: Path) -> None:
        """Write one safetensors file, whole or not at all."""
        tensors = {"codes": self.codes, "rows": self.rows} | {f"splits.{m}": x for m, x in enumerate(self.splits)}
        if self.starts is not None:
            tensors["starts"] = self.starts
        with atomic_file(path, "wb") as handle:
            save_file(tensors, handle.name)

    @classmethod
    def load(cls, path: Path) -> "Trie":
        """Map a file that `save` wrote into memory; pages are read when a search first touches them."""
        with reading_own_file(path):
            tensors = load_file(path)
            splits = [tensors[f"splits.{level}"] for level in range(tensors["codes"].shape[1])]
            return cls(tensors["codes"], splits, tensors["rows"], tensors.get("starts"))


def _require_prefix_free(codes: Array, shared: Array) -> None:
    """In docid order a prefix stands right before a docid that it begins."""
    if codes.min() >= 0:
        return  # all are of one length
    prefix = np.flatnonzero(shared[1:-1] == lengths(codes)[:-1])
    if len(prefix):
        short, long = ([x for x in codes[i].tolist() if x >= 0] for i in (prefix[0], prefix[0] + 1))
        raise GenirError(f"docid {short} is a prefix of {long}, so the longer one could never be written; build again")

"""The prefix tree (trie) over all docids, as sorted arrays: a node is a range of docids that share their first codes.

U distinct docids of at most L codes take U * (L + 4) bytes if a code takes one byte, without a Python object per
node. Readers map the saved file into memory, so that several processes share it.

Shapes: N documents, U distinct docids, L levels, n nodes, c children of all nodes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from genir.docids.order import Array, compact, docid_lengths, order_docids
from genir.errors import GenirError
from genir.files import atomic_file, reading_own_file


class Children(NamedTuple):
    """The children of some nodes, [c] each.

    parent: index of the child's parent among the nodes. first, last: the docids first .. last - 1 are below the child.
    code: its last code.
    """

    parent: Tensor
    first: Tensor
    last: Tensor
    code: Tensor


class AllowedDocids(NamedTuple):
    """A subset of the docids, to which a search is restricted.

    leaves [A]: numbers of the docids, ascending. document_counts [A]: how many allowed documents hold each docid.
    """

    leaves: Tensor
    document_counts: Tensor

    def to(self, device: torch.device | str) -> "AllowedDocids":
        """The same subset on a device."""
        return AllowedDocids(self.leaves.to(device), self.document_counts.to(device))

    def contains(self, leaves: Tensor) -> Tensor:
        """Whether each of the docids [n] is allowed."""
        return self.leaves[torch.searchsorted(self.leaves, leaves).clamp(max=len(self.leaves) - 1)] == leaves

    def narrow(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Shrink ranges [n] of docids first .. last - 1 until both ends are allowed; first = last if there are none."""
        begin, end = torch.searchsorted(self.leaves, first), torch.searchsorted(self.leaves, last)
        narrowed = self.leaves[begin.clamp(max=len(self.leaves) - 1)]
        return narrowed, torch.where(end > begin, self.leaves[end - 1] + 1, narrowed)


class Trie:
    """All docids in lexicographic order; a docid's number in this order is called a leaf.

    codes [U, L]: the docids, -1 after the end of shorter ones. splits[m]: the leaves, in ascending order, that share
    exactly m codes with the leaf before them, followed by U.
    doc_indices [N]: the documents in docid order, those with the same docid in the collection's order. starts [U + 1]:
    where the documents of each docid begin in `doc_indices`; None if each docid has one document.
    """

    def __init__(self, codes: Tensor, splits: Sequence[Tensor], doc_indices: Tensor, starts: Tensor | None) -> None:
        self.codes = codes
        self.splits = list(splits)
        self.doc_indices = doc_indices
        self.starts = starts

    @classmethod
    def from_codes(cls, codes: Array) -> "Trie":
        """Build the trie of the docids [N, L] of all documents, with -1 after the end of shorter docids.

        Raises GenirError if a docid is a prefix of another one, which could then never be generated. Raises ValueError
        unless there are at least one docid and 1 to 255 levels.
        """
        count, depth = codes.shape
        if count == 0 or depth == 0:
            raise ValueError(f"a trie needs at least one docid of one code, got codes of shape {codes.shape}")
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
        """Number of codes in the longest docid."""
        return self.codes.shape[1]

    @property
    def size(self) -> int:
        """Number of distinct docids."""
        return len(self.codes)

    @property
    def has_fixed_length(self) -> bool:
        """Whether all docids are known to have the same length: codes of the type uint8 cannot hold the padding -1."""
        return self.codes.dtype == torch.uint8

    def documents_of(self, leaf: int) -> Array:
        """The doc_indices of the documents that hold a docid."""
        first, last = (leaf, leaf + 1) if self.starts is None else self.starts[leaf : leaf + 2].tolist()
        doc_indices: Array = self.doc_indices[first:last].numpy()
        return doc_indices

    def allowed_docids(self, doc_indices: Array) -> AllowedDocids:
        """Find the docids of some documents, to restrict a search to these documents."""
        wanted = np.zeros(len(self.doc_indices), bool)
        wanted[doc_indices] = True
        positions = np.flatnonzero(wanted[self.doc_indices.numpy()])
        if self.starts is not None:
            positions = np.searchsorted(self.starts.numpy(), positions, side="right") - 1
        leaves, document_counts = np.unique(positions, return_counts=True)
        return AllowedDocids(torch.from_numpy(leaves), torch.from_numpy(document_counts))

    def count_documents(self, leaves: Tensor, allowed: AllowedDocids | None = None) -> Tensor:
        """Number of documents, or of allowed documents, that hold each docid; the result has the shape of `leaves`."""
        if allowed is not None:
            index = torch.searchsorted(allowed.leaves, leaves).clamp(max=len(allowed.leaves) - 1)
            return allowed.document_counts[index]
        if self.starts is None:
            return torch.ones_like(leaves)
        return (self.starts[leaves + 1] - self.starts[leaves]).long()

    def count_children(self, level: int, first: Tensor, last: Tensor) -> Tensor:
        """Number of children of the nodes [n] of docids first .. last - 1, which share `level` codes; 0 if empty."""
        return self._find_splits(level, first, last)[1]

    def _find_splits(self, level: int, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the first split inside each node [n], and its number of children [n]."""
        split = self.splits[level]
        inside = torch.searchsorted(split, first.to(split.dtype), right=True)
        return inside, (torch.searchsorted(split, last.to(split.dtype)) - inside + 1) * (first < last)

    def expand(self, level: int, first: Tensor, last: Tensor, total: int | None = None) -> Children:
        """All children of the nodes [n] of docids first .. last - 1, which share their first `level` codes.

        The children are ordered by node, then by code. total: number of children c; if it is given, the call does not
        synchronise with a GPU. It may exceed the real number if the last node is empty; the superfluous children are
        then empty children of that node.
        """
        split = self.splits[level]
        inside, counts = self._find_splits(level, first, last)
        ends = counts.cumsum(0)
        starts = ends - counts
        if total is not None:
            counts[-1:] += total - ends[-1:]
        parent = torch.repeat_interleave(counts, output_size=total)
        number = torch.arange(len(parent), device=first.device) - starts[parent]
        end = (inside[parent] + number).clamp(max=len(split) - 1)
        begin = torch.where(number == 0, first[parent], split[end - 1])
        begin = begin.clamp(max=self.size - 1)  # superfluous children may start past the last docid
        return Children(
            parent, begin, torch.minimum(split[end].to(last.dtype), last[parent]), self.codes[begin, level].long()
        )

    def is_complete(self, level: int, first: Tensor) -> Tensor:
        """Whether each of the docids `first` [n] has no more than `level` codes."""
        if level >= self.depth:
            return torch.ones_like(first, dtype=torch.bool)
        return self.codes[first, level] < 0

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie, with the arrays that a search reads on a device."""
        starts = None if self.starts is None else self.starts.to(device)
        return Trie(self.codes.to(device), [split.to(device) for split in self.splits], self.doc_indices, starts)

    def save(self, path: Path) -> None:
        """Write the trie as one safetensors file, completely or not at all."""
        tensors = {"codes": self.codes, "rows": self.doc_indices}
        tensors |= {f"splits.{level}": split for level, split in enumerate(self.splits)}
        if self.starts is not None:
            tensors["starts"] = self.starts
        with atomic_file(path, "wb") as handle:
            save_file(tensors, handle.name)

    @classmethod
    def load(cls, path: Path) -> "Trie":
        """Map a saved trie into memory; its pages are read when a search first touches them.

        Raises GenirError if the file is missing or damaged.
        """
        with reading_own_file(path):
            tensors = load_file(path)
            splits = [tensors[f"splits.{level}"] for level in range(tensors["codes"].shape[1])]
            return cls(tensors["codes"], splits, tensors["rows"], tensors.get("starts"))


def _require_prefix_free(codes: Array, shared: Array) -> None:
    """Raise GenirError if a docid is a prefix of another one; in docid order, two such docids would be neighbours."""
    if codes.min() >= 0:
        return  # all docids have the same length
    prefixes = np.flatnonzero(shared[1:-1] == docid_lengths(codes)[:-1])
    if len(prefixes):
        short, long = ([x for x in codes[i].tolist() if x >= 0] for i in (prefixes[0], prefixes[0] + 1))
        raise GenirError(
            f"docid {short} is a prefix of {long}, so the longer one could never be generated; build the docids again"
        )

"""The prefix tree (trie) over the docids of all documents, as sorted arrays: a node is a range of documents.

The leaves are the documents in the order of their docids. The documents below a node are those whose docids begin with
the node's codes. Documents that share a docid are told apart by one more code, their number among those documents in
the collection's order, which no model generates.

N documents take N * (L + 8) bytes if a code takes one byte, without a Python object per node. Readers map the saved
file into memory, so that several processes share it.

Shapes: N documents, L levels (one more if documents share a docid), n nodes, c children of all nodes.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from genir.docids.order import Array, compact, docid_lengths, order_docids
from genir.errors import GenirError
from genir.files import atomic_file, reading_own_file


class Children(NamedTuple):
    """The children of some nodes, [c] each.

    parent: index of the child's parent among the nodes. first, last: the leaves first .. last - 1 are below the child.
    code: its last code.
    """

    parent: Tensor
    first: Tensor
    last: Tensor
    code: Tensor


class AllowedLeaves(NamedTuple):
    """The leaves of some documents, to which a search is restricted.

    leaves [A]: in ascending order.
    """

    leaves: Tensor

    def to(self, device: torch.device | str) -> "AllowedLeaves":
        """The same leaves on a device."""
        return AllowedLeaves(self.leaves.to(device))

    def contains(self, leaves: Tensor) -> Tensor:
        """Whether each of some leaves [n] is allowed."""
        return self.count_between(leaves, leaves + 1) > 0

    def count_between(self, first: Tensor, last: Tensor) -> Tensor:
        """How many of the leaves first .. last - 1 are allowed, for ranges [n]."""
        return torch.searchsorted(self.leaves, last) - torch.searchsorted(self.leaves, first)

    def narrow(self, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Shrink ranges [n] of leaves first .. last - 1 until both ends are allowed; first = last if there are none."""
        begin, end = torch.searchsorted(self.leaves, first), torch.searchsorted(self.leaves, last)
        narrowed = self.leaves[begin.clamp(max=len(self.leaves) - 1)]
        return narrowed, torch.where(end > begin, self.leaves[end - 1] + 1, narrowed)


class Trie:
    """The documents in the lexicographic order of their docids; a document's number in this order is its leaf.

    codes [N, L]: the docid of each leaf, -1 after the end of shorter ones; a shared docid is followed by the document's
    number among those that have it. splits[m]: the leaves, in ascending order, that share exactly m codes with the leaf
    before them, followed by N. doc_indices [N]: the document of each leaf. lengths [N]: how many codes of each leaf a
    model generates; None if all of them have `levels`. levels: number of codes of the longest docid.
    """

    def __init__(
        self, codes: Tensor, splits: Sequence[Tensor], doc_indices: Tensor, lengths: Tensor | None, levels: int
    ) -> None:
        self.codes = codes
        self.splits = list(splits)
        self.doc_indices = doc_indices
        self.lengths = lengths
        self.levels = levels

    @classmethod
    def from_codes(cls, codes: Array) -> "Trie":
        """Build the trie of the docids [N, L] of all documents, with -1 after the end of shorter docids.

        Raises GenirError if a docid is a prefix of another one, which could then never be generated. Raises ValueError
        unless there are at least one docid and 1 to 255 levels.
        """
        count, levels = codes.shape
        if count == 0 or levels == 0:
            raise ValueError(f"a trie needs at least one docid of one code, got codes of shape {codes.shape}")
        codes = compact(codes)
        order, lengths_shared = order_docids(codes)
        shared: Array = lengths_shared
        codes = codes[order]
        lengths = docid_lengths(codes).astype(np.uint8)
        _require_prefix_free(codes, shared, lengths)
        is_shared = shared == levels
        if is_shared.any():
            codes, shared = _number_shared_docids(codes, shared, lengths)
        splits = [np.flatnonzero(shared[1:-1] == level).astype(np.int32) + 1 for level in range(codes.shape[1])]
        closed = [torch.from_numpy(np.append(split, np.int32(count))) for split in splits]
        has_one_length = bool((lengths == levels).all())
        return cls(
            torch.from_numpy(codes),
            closed,
            torch.from_numpy(order),
            None if has_one_length else torch.from_numpy(lengths),
            levels,
        )

    @property
    def depth(self) -> int:
        """Number of levels, including that of the documents that share a docid, if there are any."""
        return self.codes.shape[1]

    @property
    def size(self) -> int:
        """Number of documents."""
        return len(self.codes)

    def find_leaves(self, doc_indices: Array | Sequence[int]) -> Tensor:
        """The leaves of some documents, in their order."""
        return torch.from_numpy(self.leaf_of[doc_indices]).long()

    @cached_property
    def leaf_of(self) -> NDArray[np.int32]:
        """The leaf of each document [N]."""
        leaves = np.empty(self.size, np.int32)
        leaves[self.doc_indices.numpy()] = np.arange(self.size, dtype=np.int32)
        return leaves

    def allow(self, doc_indices: Array) -> AllowedLeaves:
        """Find the leaves of some distinct documents, to restrict a search to these documents."""
        return AllowedLeaves(self.find_leaves(doc_indices).sort().values)

    def generated_codes(self, leaves: Tensor) -> Tensor:
        """The docids of some leaves [...] as codes [..., L] without the numbers of documents that share a docid, int64.

        Padded with -1.
        """
        codes = self.codes[leaves][..., : self.levels].long()
        if self.lengths is None:
            return codes
        after_end = torch.arange(self.levels, device=leaves.device) >= self.lengths[leaves].unsqueeze(-1)
        return codes.masked_fill(after_end, -1)

    def is_generated(self, level: int, first: Tensor) -> Tensor:
        """Whether the model chooses among the children of nodes [n] of `level` codes; else they share one docid."""
        if self.lengths is None:
            return torch.full_like(first, level < self.levels, dtype=torch.bool)
        return self.lengths[first] > level

    def count_children(self, level: int, first: Tensor, last: Tensor) -> Tensor:
        """Number of children of the nodes [n] of leaves first .. last - 1, which share `level` codes; 0 if empty."""
        return self._find_splits(level, first, last)[1]

    def _find_splits(self, level: int, first: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
        """Index of the first split inside each node [n], and its number of children [n]."""
        split = self.splits[level]
        inside = torch.searchsorted(split, first.to(split.dtype), right=True)
        return inside, (torch.searchsorted(split, last.to(split.dtype)) - inside + 1) * (first < last)

    def child_numbers(self, level: int, first: Tensor, leaves: Tensor) -> Tensor:
        """The number, from 0, of the child that each leaf [n] is below, among the children of its node.

        first [n]: the first leaf of the node, which has `level` codes.
        """
        split = self.splits[level]
        before = torch.searchsorted(split, first.to(split.dtype), right=True)
        return torch.searchsorted(split, leaves.to(split.dtype), right=True) - before

    def descend(self, level: int, first: Tensor, last: Tensor, leaves: Tensor) -> tuple[Tensor, Tensor]:
        """The child of each node [...] that a leaf [...] is below, as a range; the nodes have `level` codes."""
        split = self.splits[level]
        after = torch.searchsorted(split, leaves.to(split.dtype), right=True)
        begin = torch.where(after > 0, split[after - 1], 0).to(first.dtype)
        end = split[after.clamp(max=len(split) - 1)].to(last.dtype)
        return torch.maximum(first, begin), torch.minimum(last, end)

    def expand(self, level: int, first: Tensor, last: Tensor, total: int | None = None) -> Children:
        """All children of the nodes [n] of leaves first .. last - 1, which share their first `level` codes.

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
        begin = begin.clamp(max=self.size - 1)  # superfluous children may start past the last leaf
        return Children(
            parent, begin, torch.minimum(split[end].to(last.dtype), last[parent]), self.codes[begin, level].long()
        )

    def to(self, device: torch.device | str) -> "Trie":
        """The same trie, with the arrays that a search reads on a device."""
        lengths = None if self.lengths is None else self.lengths.to(device)
        splits = [split.to(device) for split in self.splits]
        return Trie(self.codes.to(device), splits, self.doc_indices, lengths, self.levels)

    def save(self, path: Path) -> None:
        """Write the trie as one safetensors file, completely or not at all."""
        tensors = {"codes": self.codes, "doc_indices": self.doc_indices, "levels": torch.tensor([self.levels])}
        tensors |= {f"splits.{level}": split for level, split in enumerate(self.splits)}
        if self.lengths is not None:
            tensors["lengths"] = self.lengths
        with atomic_file(path, "wb") as handle:
            save_file(tensors, handle.name)

    @classmethod
    def load(cls, path: Path, docids: Array) -> "Trie":
        """Map a saved trie into memory; its pages are read when a search first touches them.

        docids [N, L]: the docids of all documents, from which the trie is built again if the file was written by a
        version that stored tries in another form. Raises GenirError if the file is missing or damaged.
        """
        with reading_own_file(path):
            tensors = load_file(path)
            if "doc_indices" not in tensors:
                return cls.from_codes(docids)
            codes, doc_indices = tensors["codes"], tensors["doc_indices"]
            splits = [tensors[f"splits.{level}"] for level in range(codes.shape[1])]
            return cls(codes, splits, doc_indices, tensors.get("lengths"), int(tensors["levels"]))


def _number_shared_docids(codes: Array, shared: Array, lengths: Array) -> tuple[Array, Array]:
    """Add to each shared docid the number of its document among those that have it.

    codes [N, L], shared [N + 1] and lengths [N] are those of sorted docids. Returns codes [N, L + 1] and the lengths of
    the prefixes that neighbours share now.
    """
    count, levels = codes.shape
    is_repeated = shared[:-1] == levels
    begins = np.flatnonzero(~is_repeated)
    number = np.arange(count) - np.repeat(begins, np.diff(np.append(begins, count)))
    is_member = is_repeated | np.append(is_repeated[1:], False)
    # Padding in the new column would make codes of one byte take two; the column of unshared docids is never read.
    numbered = np.append(codes.astype(np.int32), np.full((count, 1), 0 if codes.min() >= 0 else -1, np.int32), 1)
    numbered[is_member, lengths[is_member]] = number[is_member]
    shared = shared.copy()
    shared[:-1][is_repeated] = lengths[is_repeated]
    return compact(numbered), shared


def _require_prefix_free(codes: Array, shared: Array, lengths: Array) -> None:
    """Raise GenirError if a docid is a prefix of another one; in docid order, two such docids would be neighbours."""
    if codes.min() >= 0:
        return  # all docids have the same length
    # Equal docids share all L columns, of which the padding is a part.
    prefixes = np.flatnonzero((shared[1:-1] == lengths[:-1]) & (shared[1:-1] < codes.shape[1]))
    if len(prefixes):
        short, long = ([x for x in codes[i].tolist() if x >= 0] for i in (prefixes[0], prefixes[0] + 1))
        raise GenirError(
            f"docid {short} is a prefix of {long}, so the longer one could never be generated; build the docids again"
        )

"""Collision policies for documents with the same codes: extend numbers them, reassign moves them to free codes.

Shapes: N documents, L levels, K codes of the last level.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from genir.docids.order import Array, docid_lengths, docid_numbers
from genir.errors import GenirError

HEADROOM = 2
"""Ratio of the codes for collision numbers to the size of the largest collision; new documents get the unused codes."""
Distances = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Document indices [n] -> distance between each document's vector and each code of the last level [n, K]."""


def extend(codes: Array, taken: Array | None = None) -> NDArray[np.int32]:
    """Append a number to the codes of each document, which distinguishes documents with equal codes.

    This is the method of TIGER (arXiv 2305.05065, section 3.1). codes: [N, L], padded with -1. Returns [N, L + 1], with
    the number right after the last code of a docid. Documents with equal codes are numbered 0, 1, ... in their order.
    taken: [M, L + 1], docids that are in use; the documents then get the smallest numbers that are still free.
    """
    wide = np.full((len(codes), codes.shape[1] + 1), -1, np.int32)
    wide[:, :-1] = codes
    numbers = _count_within_groups(docid_numbers(codes)) if taken is None else _smallest_free_numbers(wide, taken)
    wide[np.arange(len(codes)), docid_lengths(codes)] = numbers
    return wide


def extended_sizes(sizes: tuple[int, ...], codes: Array) -> tuple[int, ...]:
    """Compute the codebook sizes after `extend`: a level grows if the numbers in it need more codes.

    codes: [N, L + 1], the result of `extend`. The new last level has HEADROOM times as many codes as it uses, rounded
    up to a power of two, and at least 16; it is omitted if no docid reaches it.
    """
    largest = codes.max(0).tolist()
    grown = [max(old, new + 1) for old, new in zip((*sizes, 0), largest, strict=True)]
    return (
        (*grown[:-1], 1 << max(4, (HEADROOM * grown[-1] - 1).bit_length())) if largest[-1] >= 0 else tuple(grown[:-1])
    )


def _count_within_groups(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Count, for each element, the elements before it that are in the same group."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.searchsorted(ordered, ordered)
    counts = np.empty(len(group), np.int64)
    counts[order] = np.arange(len(group)) - first
    return counts


def _smallest_free_numbers(new: NDArray[np.int32], taken: Array) -> NDArray[np.int64]:
    """Find the smallest number that `taken` [M, L + 1] leaves free for each docid of `new` [n, L + 1]; returns [n].

    new: docids without their number, padded with -1.
    """
    prefixes = taken.astype(np.int32)
    documents = np.arange(len(taken))
    last = docid_lengths(taken) - 1
    taken_numbers = prefixes[documents, last].copy()
    prefixes[documents, last] = -1
    group = docid_numbers(np.concatenate([prefixes, new]))
    taken_groups, new_groups = group[: len(taken)], group[len(taken) :]
    relevant = np.isin(taken_groups, new_groups)
    used: dict[int, set[int]] = {}
    for key, number in zip(taken_groups[relevant].tolist(), taken_numbers[relevant].tolist(), strict=True):
        used.setdefault(key, set()).add(number)
    result = np.empty(len(new), np.int64)
    for position, key in enumerate(new_groups.tolist()):
        occupied = used.setdefault(key, set())
        result[position] = next(number for number in range(len(occupied) + 1) if number not in occupied)
        occupied.add(int(result[position]))
    return result


def reassign(codes: Array, size: int, distances: Distances, taken: Array | None = None) -> NDArray[np.int32]:
    """Move documents that share a docid to the nearest free code of the last level; returns codes [N, L].

    codes: [N, L]. size: K. taken: [M, L], docids that are in use. The first document of a group keeps its docid. The
    others try the codes of the last level from the nearest to the farthest, in parallel; if several of them try the
    same docid at the same time, the first of them gets it. Raises GenirError if more documents than codes share all
    codes but the last.
    """
    count = len(codes)
    both = codes.astype(np.int32) if taken is None else np.concatenate([codes, taken]).astype(np.int32)
    prefix = docid_numbers(both[:, :-1]) if both.shape[1] > 1 else np.zeros(len(both), np.int64)
    key = prefix * size + both[:, -1]
    occupied = np.unique(key[count:])
    moved = both[:count].copy()
    waiting = np.arange(count)
    order: NDArray[np.int64] | None = None
    for tries in range(size + 1):
        wanted = key[waiting]
        first = np.zeros(len(waiting), bool)
        first[np.unique(wanted, return_index=True)[1]] = True
        settled = first & ~np.isin(wanted, occupied)
        occupied = np.union1d(occupied, wanted[settled])
        waiting = waiting[~settled]
        order = np.argsort(distances(waiting), axis=1, kind="stable") if order is None else order[~settled]
        if len(waiting) == 0:
            return moved
        if tries < size:
            moved[waiting, -1] = order[:, tries]
            key[waiting] = prefix[waiting] * size + moved[waiting, -1]
    raise GenirError(
        f"docids.collisions=reassign: no free code for {len(waiting):,} documents, because more than {size} documents "
        "share all codes but the last; raise docids.levels or docids.codebook_size, or use docids.collisions=extend"
    )

"""What to do about documents that a builder gave the same codes: number them, move them, or let them share.

Shapes: N documents, L levels, K codes of the last level.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from genir.docids.order import Array, docid_numbers, lengths
from genir.errors import GenirError

Policy = Literal["extend", "reassign", "share"]
ROOM = 2  # codes for this many times the largest group, so that new documents find free numbers
Distances = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Rows [n] -> distance of each one's vector to each code of the last level [n, K]."""


def extend(codes: Array, taken: Array | None = None) -> NDArray[np.int32]:
    """Number the documents that share a docid, in their order, with one more code (TIGER, arXiv 2305.05065, section
    3.1): codes [N, L] -> [N, L + 1], the number right after the last code, so that no docid is a prefix of another.

    taken [M, L + 1]: docids that are numbered already; the others get the smallest free numbers.
    """
    wide = np.full((len(codes), codes.shape[1] + 1), -1, np.int32)
    wide[:, :-1] = codes
    number = _running_number(docid_numbers(codes)) if taken is None else _free(wide, taken)
    wide[np.arange(len(codes)), lengths(codes)] = number
    return wide


def extended_sizes(sizes: tuple[int, ...], codes: Array) -> tuple[int, ...]:
    """Codebook sizes after `extend`: each level as large as before and as its numbers need, with room for more."""
    largest = codes.max(0).tolist()
    grown = [max(old, new + 1) for old, new in zip((*sizes, 0), largest, strict=True)]
    return (*grown[:-1], 1 << max(4, (ROOM * grown[-1] - 1).bit_length())) if largest[-1] >= 0 else tuple(grown[:-1])


def _running_number(group: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each row, how many rows before it have the same group."""
    order = np.argsort(group, kind="stable")
    ordered = group[order]
    first = np.searchsorted(ordered, ordered)
    number = np.empty(len(group), np.int64)
    number[order] = np.arange(len(group)) - first
    return number


def _free(new: NDArray[np.int32], taken: Array) -> NDArray[np.int64]:
    """The smallest numbers that `taken` leaves free, for codes [n, L + 1] whose number is still open."""
    prefixes = taken.astype(np.int32)
    rows = np.arange(len(taken))
    last = lengths(taken) - 1
    number = prefixes[rows, last].copy()
    prefixes[rows, last] = -1
    group = docid_numbers(np.concatenate([prefixes, new]))
    old, fresh = group[: len(taken)], group[len(taken) :]
    wanted = np.isin(old, fresh)
    used: dict[int, set[int]] = {}
    for key, value in zip(old[wanted].tolist(), number[wanted].tolist(), strict=True):
        used.setdefault(key, set()).add(value)
    result = np.empty(len(new), np.int64)
    for row, key in enumerate(fresh.tolist()):
        occupied = used.setdefault(key, set())
        result[row] = next(value for value in range(len(occupied) + 1) if value not in occupied)
        occupied.add(int(result[row]))
    return result


def reassign(codes: Array, size: int, distances: Distances, taken: Array | None = None) -> NDArray[np.int32]:
    """Move documents that share a docid to the nearest free code of the last level: codes [N, L] -> [N, L].

    The first document of a group stays; the others try their codes from near to far, all at once, and of those that
    want the same one the first gets it. taken [M, L]: docids that are not free. Raises GenirError when a prefix has
    more documents than codes.
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
        f"docids.collisions reassign: {len(waiting):,} documents find no free code, since more than {size} documents "
        "share all codes but the last; use more levels or codes, or collisions: extend"
    )

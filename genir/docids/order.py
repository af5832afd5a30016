"""Sorting docids, and the lengths of the prefixes that neighbours in sorted order share; used by tries and reports.

Shapes: N documents, L levels. A docid shorter than L is padded with -1, which sorts before every code.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.integer]
"""An array of any integer type."""


class DocidOrder(NamedTuple):
    """The documents of a table, sorted by docid.

    order: [N], the indices of the documents in lexicographic order of their docids; the sort is stable. shared:
    [N + 1], where shared[i] is the length of the prefix that the docids of order[i - 1] and order[i] share (L if they
    are equal); shared[0] and shared[N] are 0.
    """

    order: NDArray[np.int32]
    shared: NDArray[np.uint8]


def compact(codes: Array) -> Array:
    """Convert codes to the smallest of the types uint8, int16 and int32 that holds all of them."""
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
    kind = np.uint8 if low >= 0 and high <= 255 else np.int16 if high <= 32767 else np.int32
    return np.ascontiguousarray(codes, dtype=kind)


def order_docids(codes: Array) -> DocidOrder:
    """Sort the docids [N, L].

    This needs about as much memory as the codes take, plus 16 bytes per document. Raises ValueError if L is above 255.
    """
    if codes.shape[1] > 255:
        raise ValueError(f"a docid may have at most 255 codes, but these have {codes.shape[1]}")
    order = np.zeros(len(codes), np.int32)
    if len(codes) > 1:
        keys = _sort_keys(codes)
        order = (np.lexsort(keys[::-1]) if len(keys) > 1 else np.argsort(keys[0], kind="stable")).astype(np.int32)
        del keys
    shared = np.zeros(len(codes) + 1, np.uint8)
    same = np.ones(max(0, len(codes) - 1), bool)
    for level in range(codes.shape[1] if len(codes) else 0):
        column = codes[:, level][order]
        same &= column[1:] == column[:-1]
        shared[1:-1] += same
    return DocidOrder(order, shared)


def _sort_keys(codes: Array) -> list[NDArray[np.uint64]]:
    """Pack codes [N, L] into a few integer keys [N] that sort in the same order, most significant key first.

    A key holds eight codes of one byte, four of two bytes or two of four bytes.
    """
    low = min(0, int(codes.min()))
    span = int(codes.max()) - low
    width = 1 if span < 1 << 8 else 2 if span < 1 << 16 else 4
    codes_per_key = 8 // width
    keys = []
    for start in range(0, codes.shape[1], codes_per_key):
        key = np.zeros(len(codes), np.uint64)
        for level in range(start, start + codes_per_key):
            key <<= np.uint64(8 * width)
            if level < codes.shape[1]:
                key |= (codes[:, level].astype(np.int64) - low).view(np.uint64)
        keys.append(key)
    return keys


def docid_numbers(codes: Array) -> NDArray[np.int64]:
    """Return a number for each document's docid [N]; documents have the same number if their docids are equal.

    The distinct docids are numbered from 0 in lexicographic order.
    """
    ordered = order_docids(codes)
    numbers = np.empty(len(codes), np.int64)
    numbers[ordered.order] = np.cumsum(ordered.shared[:-1] < codes.shape[1]) - 1
    return numbers


def docid_lengths(codes: Array) -> NDArray[np.int64]:
    """Return the number of codes in each docid [N], without padding."""
    count: NDArray[np.int64] = (codes >= 0).sum(1, dtype=np.int64)
    return count

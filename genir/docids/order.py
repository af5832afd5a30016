"""Docids in lexicographic order, and how many leading codes neighbours share: all that tries and reports need.

Shapes: N documents, L levels. A docid shorter than L is filled up with -1, which sorts before every code.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.integer]


class Ordered(NamedTuple):
    """order [N]: rows in docid order, equal ones in their given order; shared [N + 1]: leading codes that docid
    order[i] shares with order[i - 1] (L when they are equal); 0 at both ends.
    """

    order: NDArray[np.int32]
    shared: NDArray[np.uint8]


def compact(codes: Array) -> Array:
    """The same codes in the smallest of uint8, int16 and int32 that holds them."""
    low, high = (int(codes.min()), int(codes.max())) if codes.size else (0, 0)
    kind = np.uint8 if low >= 0 and high <= 255 else np.int16 if high <= 32767 else np.int32
    return np.ascontiguousarray(codes, dtype=kind)


def order_docids(codes: Array) -> Ordered:
    """Sort codes [N, L], L at most 255; memory: about as much as the codes, and 16 bytes a document."""
    if codes.shape[1] > 255:
        raise ValueError(f"docids may have 255 codes at most, not {codes.shape[1]}")
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
    return Ordered(order, shared)


def _sort_keys(codes: Array) -> list[NDArray[np.uint64]]:
    """Codes [N, L] as a few integers a row that sort alike, first key first: eight one-byte codes fit into one."""
    low = min(0, int(codes.min()))
    span = int(codes.max()) - low
    width = 1 if span < 1 << 8 else 2 if span < 1 << 16 else 4
    each = 8 // width
    keys = []
    for start in range(0, codes.shape[1], each):
        key = np.zeros(len(codes), np.uint64)
        for level in range(start, start + each):
            key <<= np.uint64(8 * width)
            if level < codes.shape[1]:
                key |= (codes[:, level].astype(np.int64) - low).view(np.uint64)
        keys.append(key)
    return keys


def docid_numbers(codes: Array) -> NDArray[np.int64]:
    """The number of each row's docid [N], counted in docid order from 0; rows of equal codes have the same one."""
    ordered = order_docids(codes)
    numbers = np.empty(len(codes), np.int64)
    numbers[ordered.order] = np.cumsum(ordered.shared[:-1] < codes.shape[1]) - 1
    return numbers


def lengths(codes: Array) -> NDArray[np.int64]:
    """Codes in each docid [N]."""
    found: NDArray[np.int64] = (codes >= 0).sum(1, dtype=np.int64)
    return found

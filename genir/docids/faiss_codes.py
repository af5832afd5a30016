"""What the builders that quantise with faiss share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.errors import GenirError


def import_faiss() -> Any:
    """faiss, or a clear error that names the two extras."""
    try:
        import faiss
    except ImportError:
        raise GenirError("faiss is missing: pip install genir[cpu] or, with CUDA, genir[gpu]; never both") from None
    return faiss


def checked_bits(size: int, count: int) -> int:
    """Bits of a code; faiss needs codebooks of a power of two, and at least as many documents as codes."""
    bits = size.bit_length() - 1
    if size != 1 << bits:
        raise GenirError(f"docids.codes: {size} is not a power of two; {1 << bits} or {2 << bits} is")
    if count < size:
        raise GenirError(f"docids.codes: {size} codes cannot be learned from {count} documents; use fewer codes")
    return bits


def unpack_codes(packed: NDArray[np.uint8], levels: int, bits: int) -> NDArray[np.int32]:
    """faiss's bit strings [N, bytes], lowest bit first, as codes [N, levels]."""
    flat = np.unpackbits(packed, axis=1, bitorder="little")[:, : levels * bits]
    powers = 1 << np.arange(bits, dtype=np.int32)
    codes: NDArray[np.int32] = flat.reshape(len(packed), levels, bits).astype(np.int32) @ powers
    return codes

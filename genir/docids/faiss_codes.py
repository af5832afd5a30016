"""What the builders that quantise with faiss share."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.errors import GenirError

POINTS_PER_CODE = 256
BLOCK = 16_384  # vectors coded at once


def import_faiss() -> Any:
    """faiss, or a clear error that names the two extras."""
    try:
        import faiss
    except ImportError:
        raise GenirError("faiss is missing: pip install genir[cpu] or, with CUDA, genir[gpu]; never both") from None
    return faiss


def gpus() -> int:
    """GPUs that this faiss can use; 0 with faiss-cpu."""
    return int(getattr(import_faiss(), "get_num_gpus", lambda: 0)())


def checked_bits(size: int, count: int) -> int:
    """Bits of a code; faiss needs codebooks of a power of two, and at least as many documents as codes."""
    bits = size.bit_length() - 1
    if size != 1 << bits:
        raise GenirError(f"docids.codebook_size: {size} is not a power of two; {1 << bits} or {2 << bits} is")
    if count < size:
        raise GenirError(
            f"docids.codebook_size: {size} codes cannot be learned from {count} documents; use fewer codes"
        )
    return bits


def training_sample(vectors: NDArray[np.float32], size: int, seed: int) -> NDArray[np.float32]:
    """The vectors that codebooks of `size` codes are trained on: 256 for each code say all that more would."""
    if len(vectors) <= POINTS_PER_CODE * size:
        return vectors
    rows = np.random.default_rng(seed).choice(len(vectors), POINTS_PER_CODE * size, replace=False)
    return vectors[np.sort(rows)]


def compute_codes(quantizer: Any, vectors: NDArray[np.float32], levels: int, bits: int) -> NDArray[np.int32]:
    """Codes [N, levels] by a faiss quantizer; in blocks, since it keeps distances to all codes for each vector."""
    blocks = [
        unpack_codes(quantizer.compute_codes(vectors[start : start + BLOCK]), levels, bits)
        for start in range(0, len(vectors), BLOCK)
    ]
    return np.concatenate(blocks)


def unpack_codes(packed: NDArray[np.uint8], levels: int, bits: int) -> NDArray[np.int32]:
    """faiss's bit strings [N, bytes], lowest bit first, as codes [N, levels]."""
    flat = np.unpackbits(packed, axis=1, bitorder="little")[:, : levels * bits]
    powers = 1 << np.arange(bits, dtype=np.int32)
    codes: NDArray[np.int32] = flat.reshape(len(packed), levels, bits).astype(np.int32) @ powers
    return codes


def checked_width(vectors: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """New documents' vectors [n, D], once they are as wide as those that the codebooks were made from."""
    if vectors.ndim != 2 or vectors.shape[1] != width:
        raise GenirError(f"vectors of shape {vectors.shape}: the codebooks were made from vectors of {width} numbers")
    if not np.isfinite(vectors).all():
        raise GenirError(f"vector {np.flatnonzero(~np.isfinite(vectors).all(1))[0]} holds a value that is not finite")
    return np.ascontiguousarray(vectors, dtype=np.float32)


def squared_distances(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Between each of [n, D] and each of [K, D]: [n, K], up to rounding."""
    distances: NDArray[np.float32] = (
        (vectors**2).sum(1, keepdims=True) - 2 * vectors @ centres.T + (centres**2).sum(1)[None]
    )
    return distances

"""Functions shared by the docid builders that quantise vectors: using faiss, validating vectors, unpacking codes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.errors import GenirError

POINTS_PER_CODE = 256
"""Training vectors per code; more vectors do not improve the codebooks."""
BLOCK_SIZE = 16_384
"""Number of vectors that are encoded at once, since their distances to all codes are held in memory."""


def import_faiss() -> Any:
    """Import the module faiss. Raises GenirError, which names the two extras, if it is not installed."""
    try:
        import faiss
    except ImportError:
        raise GenirError(
            "faiss is not installed: pip install genir[cpu] or, with CUDA, genir[gpu]; never both"
        ) from None
    return faiss


def count_gpus() -> int:
    """Return the number of GPUs that faiss can use; 0 with faiss-cpu."""
    return int(getattr(import_faiss(), "get_num_gpus", lambda: 0)())


def bits_per_code(size: int, count: int) -> int:
    """Return the number of bits of a code from a codebook of `size` codes that is trained on `count` documents.

    Raises GenirError unless `size` is a power of two, which faiss requires, and at most `count`.
    """
    bits = size.bit_length() - 1
    if size != 1 << bits:
        raise GenirError(f"docids.codebook_size: {size} is not a power of two; use {1 << bits} or {2 << bits}")
    if count < size:
        raise GenirError(f"docids.codebook_size: {size} codes cannot be learned from {count} documents; lower it")
    return bits


def draw_training_sample(vectors: NDArray[np.float32], size: int, seed: int) -> NDArray[np.float32]:
    """Draw a random sample of the vectors, in their order, to train a codebook of `size` codes on.

    It has POINTS_PER_CODE vectors per code, or all vectors if there are fewer.
    """
    if len(vectors) <= POINTS_PER_CODE * size:
        return vectors
    chosen = np.random.default_rng(seed).choice(len(vectors), POINTS_PER_CODE * size, replace=False)
    return vectors[np.sort(chosen)]


def compute_codes(quantizer: Any, vectors: NDArray[np.float32], levels: int, bits: int) -> NDArray[np.int32]:
    """Compute the codes [N, levels] of vectors [N, D] with a trained faiss quantizer, in blocks to save memory."""
    blocks = [
        unpack_codes(quantizer.compute_codes(vectors[start : start + BLOCK_SIZE]), levels, bits)
        for start in range(0, len(vectors), BLOCK_SIZE)
    ]
    return np.concatenate(blocks)


def unpack_codes(packed: NDArray[np.uint8], levels: int, bits: int) -> NDArray[np.int32]:
    """Unpack codes [N, levels] from faiss's bit strings [N, bytes], in which a code starts with its lowest bit."""
    flat = np.unpackbits(packed, axis=1, bitorder="little")[:, : levels * bits]
    powers = 1 << np.arange(bits, dtype=np.int32)
    codes: NDArray[np.int32] = flat.reshape(len(packed), levels, bits).astype(np.int32) @ powers
    return codes


def require_vectors(vectors: NDArray[np.float32], dimension: int) -> NDArray[np.float32]:
    """Return document vectors [n, dimension] as a contiguous float32 array.

    Raises GenirError if their dimension is not that of the vectors that the codebooks were trained on, or if a value is
    not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise GenirError(
            f"vectors of shape {vectors.shape}: the codebooks were trained on vectors of dimension {dimension}"
        )
    if not np.isfinite(vectors).all():
        raise GenirError(
            f"vector {np.flatnonzero(~np.isfinite(vectors).all(1))[0]} contains a value that is not finite"
        )
    return np.ascontiguousarray(vectors, dtype=np.float32)


def squared_distances(vectors: NDArray[np.float32], centres: NDArray[np.float32]) -> NDArray[np.float32]:
    """Compute the squared Euclidean distances [n, K] between vectors [n, D] and centres [K, D].

    Rounding errors can make a distance slightly negative.
    """
    distances: NDArray[np.float32] = (
        (vectors**2).sum(1, keepdims=True) - 2 * vectors @ centres.T + (centres**2).sum(1)[None]
    )
    return distances

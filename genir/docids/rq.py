"""Residual quantisation: a vector is the sum of one code vector from each level (RIPOR, arXiv 2311.09134; TIGER,
arXiv 2305.05065). faiss trains the codebooks and encodes with a beam over residual paths.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.docids.table import Codes, extend_collisions
from genir.errors import GenirError


def build_rq(count: int, vectors: NDArray[np.float32], settings: Mapping[str, Any], seed: int) -> Codes:
    """Quantise `vectors` [N, D] into `levels` codes of `codes` each; collisions get one more level.

    Deterministic for a seed and a number of threads. codebooks["codebooks"] is [levels, codes, D].
    """
    levels, size = int(settings["levels"]), int(settings["codes"])
    bits = size.bit_length() - 1
    if size != 1 << bits:
        raise GenirError(f"docids.codes: {size} is not a power of two, which rq needs; {1 << bits} or {2 << bits} is")
    if count < size:
        raise GenirError(f"docids.codes: {size} codes cannot be learned from {count} documents; use fewer codes")
    faiss = import_faiss()
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are meant; faiss would warn under 39
    quantizer.max_beam_size = int(settings["beam"])
    quantizer.train(vectors)
    codes = unpack_codes(quantizer.compute_codes(vectors), levels, bits)
    codebooks = faiss.vector_to_array(quantizer.codebooks).reshape(levels, size, -1)
    extended, sizes = extend_collisions(codes, (size,) * levels)
    return Codes(extended, sizes, {"codebooks": codebooks})


def unpack_codes(packed: NDArray[np.uint8], levels: int, bits: int) -> NDArray[np.int32]:
    """faiss's bit strings [N, bytes], lowest bit first, as codes [N, levels]."""
    flat = np.unpackbits(packed, axis=1, bitorder="little")[:, : levels * bits]
    codes: NDArray[np.int32] = flat.reshape(len(packed), levels, bits).astype(np.int32) @ (
        1 << np.arange(bits, dtype=np.int32)
    )
    return codes


def import_faiss() -> Any:
    """faiss, or a clear error that names the two extras."""
    try:
        import faiss
    except ImportError:
        raise GenirError("faiss is missing: pip install genir[cpu] or, with CUDA, genir[gpu]; never both") from None
    return faiss

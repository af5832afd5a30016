"""Product quantisation: a vector is cut into as many pieces as there are levels, and each gets the nearest code of its
level (Ultron, arXiv 2208.09257; DDRO, arXiv 2504.05181: 24 levels of 256 codes). OPQ rotates the vectors first, so that
the pieces hold about the same (Ge et al., CVPR 2013).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import PQConfig
from genir.docids.faiss_codes import (
    checked_bits,
    checked_width,
    compute_codes,
    gpus,
    import_faiss,
    squared_distances,
    training_sample,
)
from genir.docids.table import Codes, Source
from genir.errors import GenirError


def build_pq(source: Source, settings: PQConfig, seed: int) -> Codes:
    """Quantise vectors [N, D] into `levels` codes of `codes` each; D must be a multiple of `levels`.

    Deterministic for a seed and a number of threads. codebooks["codebooks"] is [levels, codes, D / levels]; with opq,
    codebooks["rotation"] is [D, D], applied to a vector from the left.
    """
    levels, size = settings.levels, settings.codebook_size
    bits = checked_bits(size, len(source.vectors))
    vectors = training_sample(source.vectors, size, seed)
    width = vectors.shape[1]
    if width % levels:
        raise GenirError(f"docids.levels: vectors of {width} cannot be cut into {levels} equal pieces; use a divisor")
    faiss = import_faiss()
    codebooks = {}
    quantizer = faiss.ProductQuantizer(width, levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are meant; faiss would warn under 39
    if gpus():
        quantizer.assign_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(width // levels))
    if settings.opq:
        rotation = faiss.OPQMatrix(width, levels)
        rotation.pq = quantizer
        rotation.train(vectors)
        codebooks["rotation"] = faiss.vector_to_array(rotation.A).reshape(width, width)
    quantizer.train(_rotated(vectors, codebooks))
    codebooks["codebooks"] = faiss.vector_to_array(quantizer.centroids).reshape(levels, size, -1)
    return Codes(encode_pq(source, settings, codebooks), (size,) * levels, codebooks)


def encode_pq(source: Source, settings: PQConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Codes [n, levels] of vectors [n, D] by trained codebooks."""
    faiss = import_faiss()
    levels, size, piece = codebooks["codebooks"].shape
    bits = size.bit_length() - 1
    quantizer = faiss.ProductQuantizer(levels * piece, levels, bits)
    faiss.copy_array_to_vector(codebooks["codebooks"].ravel(), quantizer.centroids)
    vectors = checked_width(source.vectors, levels * piece)
    return compute_codes(quantizer, _rotated(vectors, codebooks), levels, bits)


def last_distances_pq(
    source: Source, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Squared distance of the last piece of a vector to each code of the last level: [n, K]."""
    last = codebooks["codebooks"][-1]
    return squared_distances(_rotated(source.vectors, codebooks)[:, -last.shape[1] :], last)


def _rotated(vectors: NDArray[np.float32], codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    if "rotation" not in codebooks:
        return vectors
    return np.ascontiguousarray(vectors @ codebooks["rotation"].T, dtype=np.float32)

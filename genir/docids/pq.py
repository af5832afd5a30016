"""Product quantisation docids (Ultron, arXiv 2208.09257; DDRO, arXiv 2504.05181: 24 levels of 256 codes).

A vector is split into as many subvectors as there are levels, and each subvector gets the nearest code of its level.
OPQ rotates the vectors first, so that the subvectors have similar variance (Ge et al., CVPR 2013).

Shapes: N documents, n new documents, D vector dimension, K codes of a level.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import PQConfig
from genir.docids.faiss_codes import (
    bits_per_code,
    compute_codes,
    count_gpus,
    draw_training_sample,
    import_faiss,
    require_vectors,
    squared_distances,
)
from genir.docids.table import BuilderInput, Codes
from genir.errors import GenirError


def build_pq(inputs: BuilderInput, settings: PQConfig, seed: int) -> Codes:
    """Quantise vectors [N, D] into docids of `levels` codes, from codebooks of `codebook_size` codes.

    The tensors stored in the result are "codebooks" [levels, K, D / levels] and, with opq, "rotation" [D, D], which
    multiplies a vector from the left. The result is the same for the same seed and number of threads. Raises GenirError
    if D is not a multiple of `levels`, or if `codebook_size` does not suit faiss or the number of documents.
    """
    levels, size = settings.levels, settings.codebook_size
    bits = bits_per_code(size, len(inputs.vectors))
    vectors = draw_training_sample(inputs.vectors, size, seed)
    width = vectors.shape[1]
    if width % levels:
        raise GenirError(
            f"docids.levels: vectors of dimension {width} cannot be split into {levels} equal parts; use a divisor"
        )
    faiss = import_faiss()
    codebooks = {}
    quantizer = faiss.ProductQuantizer(width, levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are intended; faiss would warn below 39
    if count_gpus():
        quantizer.assign_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatL2(width // levels))
    if settings.opq:
        rotation = faiss.OPQMatrix(width, levels)
        rotation.pq = quantizer
        rotation.train(vectors)
        codebooks["rotation"] = faiss.vector_to_array(rotation.A).reshape(width, width)
    quantizer.train(_rotate(vectors, codebooks))
    codebooks["codebooks"] = faiss.vector_to_array(quantizer.centroids).reshape(levels, size, -1)
    return Codes(encode_pq(inputs, settings, codebooks), (size,) * levels, codebooks)


def encode_pq(inputs: BuilderInput, settings: PQConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Compute the codes [n, levels] of vectors [n, D] with trained codebooks.

    Raises GenirError if the vectors have another dimension or are not finite.
    """
    faiss = import_faiss()
    levels, size, width = codebooks["codebooks"].shape
    bits = size.bit_length() - 1
    quantizer = faiss.ProductQuantizer(levels * width, levels, bits)
    faiss.copy_array_to_vector(codebooks["codebooks"].ravel(), quantizer.centroids)
    vectors = require_vectors(inputs.vectors, levels * width)
    return compute_codes(quantizer, _rotate(vectors, codebooks), levels, bits)


def last_level_distances_pq(
    inputs: BuilderInput, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Compute squared distances [n, K] between the last subvector of each vector and the codes of the last level."""
    last = codebooks["codebooks"][-1]
    return squared_distances(_rotate(inputs.vectors, codebooks)[:, -last.shape[1] :], last)


def _rotate(vectors: NDArray[np.float32], codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.float32]:
    if "rotation" not in codebooks:
        return vectors
    return np.ascontiguousarray(vectors @ codebooks["rotation"].T, dtype=np.float32)

"""Residual quantisation: a vector is the sum of one code vector from each level (RIPOR, arXiv 2311.09134; TIGER,
arXiv 2305.05065). faiss trains the codebooks and encodes with a beam over residual paths.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import RQConfig
from genir.docids.faiss_codes import (
    checked_bits,
    checked_width,
    compute_codes,
    import_faiss,
    squared_distances,
    training_sample,
)
from genir.docids.table import Codes, Source


def build_rq(source: Source, settings: RQConfig, seed: int) -> Codes:
    """Quantise vectors [N, D] into `levels` codes of `codes` each.

    Deterministic for a seed and a number of threads. codebooks["codebooks"] is [levels, codes, D].
    """
    levels, size = settings.levels, settings.codebook_size
    bits = checked_bits(size, len(source.vectors))
    vectors = training_sample(source.vectors, size, seed)
    faiss = import_faiss()
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are meant; faiss would warn under 39
    if len(vectors) < vectors.shape[1]:  # the usual training goes through a PCA, which needs as many documents
        quantizer.train_type = faiss.ResidualQuantizer.Train_default
    quantizer.max_beam_size = 1  # training with the beam took four times as long for codebooks no better on new vectors
    quantizer.train(vectors)
    codebooks = {"codebooks": faiss.vector_to_array(quantizer.codebooks).reshape(levels, size, -1)}
    return Codes(encode_rq(source, settings, codebooks), (size,) * levels, codebooks)


def encode_rq(source: Source, settings: RQConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Codes [n, levels] of vectors [n, D] by trained codebooks."""
    faiss = import_faiss()
    levels, size, width = codebooks["codebooks"].shape
    bits = size.bit_length() - 1
    quantizer = faiss.ResidualQuantizer(width, levels, bits)
    faiss.copy_array_to_vector(codebooks["codebooks"].ravel(), quantizer.codebooks)
    quantizer.is_trained = True
    quantizer.max_beam_size = settings.encoder_beam
    return compute_codes(quantizer, checked_width(source.vectors, width), levels, bits)


def last_distances_rq(
    source: Source, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Squared distance of what the first levels leave of a vector to each code of the last level: [n, K]."""
    books = codebooks["codebooks"]
    rest = source.vectors - sum(books[level][codes[:, level]] for level in range(len(books) - 1))
    return squared_distances(rest, books[-1])

"""Residual quantisation docids (RIPOR, arXiv 2311.09134; TIGER, arXiv 2305.05065).

A vector is approximated by the sum of one code vector from each level. faiss trains the codebooks, and encodes with a
beam search over the levels.

Shapes: N documents, D vector dimension, K codes of a level.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import RQConfig
from genir.docids.faiss_codes import (
    bits_per_code,
    compute_codes,
    import_faiss,
    require_vectors,
    squared_distances,
    training_sample,
)
from genir.docids.table import Codes, Source


def build_rq(source: Source, settings: RQConfig, seed: int) -> Codes:
    """Quantise vectors [N, D] into docids of `levels` codes, from codebooks of `codebook_size` codes.

    codebooks: "codebooks" [levels, K, D]. Deterministic for a given seed and number of threads. Raises GenirError when
    `codebook_size` does not suit faiss or the number of documents.
    """
    levels, size = settings.levels, settings.codebook_size
    bits = bits_per_code(size, len(source.vectors))
    vectors = training_sample(source.vectors, size, seed)
    faiss = import_faiss()
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are intended; faiss would warn below 39
    if len(vectors) < vectors.shape[1]:  # the progressive-dimension training uses a PCA, which needs D vectors
        quantizer.train_type = faiss.ResidualQuantizer.Train_default
    # Training with the encoder's beam took four times as long, and the codebooks were no better on new vectors.
    quantizer.max_beam_size = 1
    quantizer.train(vectors)
    codebooks = {"codebooks": faiss.vector_to_array(quantizer.codebooks).reshape(levels, size, -1)}
    return Codes(encode_rq(source, settings, codebooks), (size,) * levels, codebooks)


def encode_rq(source: Source, settings: RQConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Codes [n, levels] of vectors [n, D] from trained codebooks."""
    faiss = import_faiss()
    levels, size, width = codebooks["codebooks"].shape
    bits = size.bit_length() - 1
    quantizer = faiss.ResidualQuantizer(width, levels, bits)
    faiss.copy_array_to_vector(codebooks["codebooks"].ravel(), quantizer.codebooks)
    quantizer.is_trained = True
    # With a beam of more than all code sequences, faiss returns wrong codes.
    quantizer.max_beam_size = min(settings.encoder_beam, size**levels)
    return compute_codes(quantizer, require_vectors(source.vectors, width), levels, bits)


def last_level_distances_rq(
    source: Source, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Squared distances [n, K] between the residual of each vector before the last level and each code of it."""
    books = codebooks["codebooks"]
    residual = source.vectors - sum(books[level][codes[:, level]] for level in range(len(books) - 1))
    return squared_distances(residual, books[-1])

"""Residual quantisation docids (RIPOR, arXiv 2311.09134; TIGER, arXiv 2305.05065).

A vector is approximated by the sum of one code vector from each level. faiss trains the codebooks, and encodes vectors
with a beam search over the levels.

Shapes: N documents, n new documents, D vector dimension, K codes of a level.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import RQConfig
from genir.docids.faiss_codes import (
    bits_per_code,
    compute_codes,
    draw_training_sample,
    import_faiss,
    require_vectors,
    squared_distances,
)
from genir.docids.table import BuilderInput, Codes


def build_rq(inputs: BuilderInput, settings: RQConfig, seed: int) -> Codes:
    """Quantise vectors [N, D] into docids of `levels` codes, from codebooks of `codebook_size` codes.

    The tensor stored in the result is "codebooks" [levels, K, D]. The result is the same for the same seed and number
    of threads. Raises GenirError if `codebook_size` does not suit faiss or the number of documents.
    """
    levels, size = settings.levels, settings.codebook_size
    bits = bits_per_code(size, len(inputs.vectors))
    vectors = draw_training_sample(inputs.vectors, size, seed)
    faiss = import_faiss()
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are intended; faiss would warn below 39
    if len(vectors) < vectors.shape[1]:  # progressive-dimension training, faiss's usual type, needs D vectors for a PCA
        quantizer.train_type = faiss.ResidualQuantizer.Train_default
    # Training with the encoder's beam took four times as long, and its codebooks were no better on new vectors.
    quantizer.max_beam_size = 1
    quantizer.train(vectors)
    codebooks = {"codebooks": faiss.vector_to_array(quantizer.codebooks).reshape(levels, size, -1)}
    return Codes(encode_rq(inputs, settings, codebooks), (size,) * levels, codebooks)


def encode_rq(inputs: BuilderInput, settings: RQConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Compute the codes [n, levels] of vectors [n, D] with trained codebooks.

    Raises GenirError if the vectors have another dimension or are not finite.
    """
    faiss = import_faiss()
    levels, size, width = codebooks["codebooks"].shape
    bits = size.bit_length() - 1
    quantizer = faiss.ResidualQuantizer(width, levels, bits)
    faiss.copy_array_to_vector(codebooks["codebooks"].ravel(), quantizer.codebooks)
    quantizer.is_trained = True
    # faiss returns wrong codes if the beam is larger than the number of code sequences.
    quantizer.max_beam_size = min(settings.encoder_beam, size**levels)
    return compute_codes(quantizer, require_vectors(inputs.vectors, width), levels, bits)


def last_level_distances_rq(
    inputs: BuilderInput, codes: NDArray[np.int32], codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.float32]:
    """Compute squared distances [n, K] between each vector's residual before the last level and the level's codes."""
    books = codebooks["codebooks"]
    residual = inputs.vectors - sum(books[level][codes[:, level]] for level in range(len(books) - 1))
    return squared_distances(residual, books[-1])

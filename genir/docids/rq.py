"""Residual quantisation: a vector is the sum of one code vector from each level (RIPOR, arXiv 2311.09134; TIGER,
arXiv 2305.05065). faiss trains the codebooks and encodes with a beam over residual paths.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.docids.faiss_codes import checked_bits, import_faiss, unpack_codes
from genir.docids.table import Codes, extend_collisions


def build_rq(count: int, vectors: NDArray[np.float32], settings: Mapping[str, Any], seed: int) -> Codes:
    """Quantise `vectors` [N, D] into `levels` codes of `codes` each; collisions get one more level.

    Deterministic for a seed and a number of threads. codebooks["codebooks"] is [levels, codes, D].
    """
    levels, size = int(settings["levels"]), int(settings["codes"])
    bits = checked_bits(size, count)
    faiss = import_faiss()
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are meant; faiss would warn under 39
    if count < vectors.shape[1]:  # the usual training goes through a PCA, which needs as many documents as dimensions
        quantizer.train_type = faiss.ResidualQuantizer.Train_default
    quantizer.max_beam_size = int(settings["beam"])
    quantizer.train(vectors)
    codes = unpack_codes(quantizer.compute_codes(vectors), levels, bits)
    codebooks = faiss.vector_to_array(quantizer.codebooks).reshape(levels, size, -1)
    extended, sizes = extend_collisions(codes, (size,) * levels)
    return Codes(extended, sizes, {"codebooks": codebooks})

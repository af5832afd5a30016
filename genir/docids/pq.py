"""Product quantisation: a vector is cut into as many pieces as there are levels, and each gets the nearest code of its
level (Ultron, arXiv 2208.09257; DDRO, arXiv 2504.05181: 24 levels of 256 codes). OPQ rotates the vectors first, so that
the pieces hold about the same (Ge et al., CVPR 2013).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.docids.faiss_codes import checked_bits, import_faiss, unpack_codes
from genir.docids.table import Codes, extend_collisions
from genir.errors import GenirError


def build_pq(count: int, vectors: NDArray[np.float32], settings: Mapping[str, Any], seed: int) -> Codes:
    """Quantise `vectors` [N, D] into `levels` codes of `codes` each; collisions get one more level.

    D must be a multiple of `levels`. Deterministic for a seed and a number of threads. codebooks["codebooks"] is
    [levels, codes, D / levels]; with opq, codebooks["rotation"] is [D, D], applied to a vector from the left.
    """
    levels, size = int(settings["levels"]), int(settings["codes"])
    bits = checked_bits(size, count)
    width = vectors.shape[1]
    if width % levels:
        raise GenirError(f"docids.levels: vectors of {width} cannot be cut into {levels} equal pieces; use a divisor")
    faiss = import_faiss()
    codebooks = {}
    quantizer = faiss.ProductQuantizer(width, levels, bits)
    quantizer.cp.seed = seed
    quantizer.cp.min_points_per_centroid = 1  # small collections are meant; faiss would warn under 39
    if settings["opq"]:
        rotation = faiss.OPQMatrix(width, levels)
        rotation.pq = quantizer
        rotation.train(vectors)
        vectors = rotation.apply(vectors)
        codebooks["rotation"] = faiss.vector_to_array(rotation.A).reshape(width, width)
    quantizer.train(vectors)
    codes = unpack_codes(quantizer.compute_codes(vectors), levels, bits)
    codebooks["codebooks"] = faiss.vector_to_array(quantizer.centroids).reshape(levels, size, -1)
    extended, sizes = extend_collisions(codes, (size,) * levels)
    return Codes(extended, sizes, codebooks)

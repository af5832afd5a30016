"""Docid builders: a builder gives every document of a collection a docid, which is a tuple of codes."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.docids.atomic import build_atomic
from genir.docids.kmeans import build_kmeans, encode_kmeans
from genir.docids.pq import build_pq, encode_pq, last_level_distances_pq
from genir.docids.rq import build_rq, encode_rq, last_level_distances_rq
from genir.docids.rqvae import build_rqvae, encode_rqvae, last_level_distances_rqvae
from genir.docids.table import BuilderInput, Codes, DocidTable
from genir.docids.text import build_text, encode_text

__all__ = ["BUILDERS", "Builder", "BuilderInput", "Codes", "DocidTable"]


class Builder(NamedTuple):
    """The functions of a docid builder; several documents may get the same codes from them.

    build: (inputs, settings, seed) -> the codes of a collection. encode: (inputs, settings, codebooks) -> the codes
    [n, L] of new documents; None if each of them gets a code that no document has had. needs: the field of
    `BuilderInput` that the builder reads. distances: (inputs, codes, codebooks) -> [n, K], the distance between each
    document and each code of the last level, by which the collision policy reassign moves documents; None if the
    builder's codes have no distances.
    """

    build: Callable[[BuilderInput, Any, int], Codes]
    encode: Callable[..., NDArray[np.int32]] | None
    needs: Literal["documents", "vectors", "tokenizer"]
    distances: Callable[..., NDArray[np.float32]] | None = None


BUILDERS = {
    "atomic": Builder(build_atomic, None, "documents"),
    "kmeans": Builder(build_kmeans, encode_kmeans, "vectors"),
    "pq": Builder(build_pq, encode_pq, "vectors", last_level_distances_pq),
    "rq": Builder(build_rq, encode_rq, "vectors", last_level_distances_rq),
    "rqvae": Builder(build_rqvae, encode_rqvae, "vectors", last_level_distances_rqvae),
    "text": Builder(build_text, encode_text, "tokenizer"),
}
"""Name of a builder (the setting docids.builder) -> its functions."""

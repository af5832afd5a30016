"""Docid builders: each gives every document of a collection a docid, a tuple of codes."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.docids.atomic import build_atomic
from genir.docids.pq import build_pq
from genir.docids.rq import build_rq
from genir.docids.table import Codes, DocidTable

__all__ = ["BUILDERS", "Builder", "Codes", "DocidTable"]


class Builder(NamedTuple):
    """`build(count, vectors, settings, seed)` -> Codes; `vectors` [N, D] are given where `embeds` is true."""

    build: Callable[[int, NDArray[np.float32], Mapping[str, Any], int], Codes]
    embeds: bool


BUILDERS = {
    "atomic": Builder(build_atomic, embeds=False),
    "pq": Builder(build_pq, embeds=True),
    "rq": Builder(build_rq, embeds=True),
}

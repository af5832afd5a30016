"""Atomic docids: one code for each document (DSI, arXiv 2202.06991, section 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import AtomicConfig
from genir.docids.table import Codes, Source
from genir.errors import GenirError


def build_atomic(source: Source, settings: AtomicConfig, seed: int) -> Codes:
    """Give document i the docid (i,): codes [N, 1], from one codebook of N codes."""
    count = len(source.documents)
    return Codes(np.arange(count, dtype=np.int32)[:, None], (count,))


def encode_atomic(source: Source, settings: AtomicConfig, codebooks: Mapping[str, NDArray[Any]]) -> NDArray[np.int32]:
    """Raise GenirError: a new atomic docid would have no meaning to a model that was trained without it."""
    raise GenirError(
        "atomic docids cannot take new documents, because the model has not learned their codes; build the docids and "
        "train the model again"
    )

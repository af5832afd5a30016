"""Atomic docids: each document has its own code (DSI, arXiv 2202.06991, section 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.config import AtomicConfig
from genir.docids.table import BuilderInput, Codes
from genir.errors import GenirError


def build_atomic(inputs: BuilderInput, settings: AtomicConfig, seed: int) -> Codes:
    """Assign the docid (i,) to document i: codes [N, 1] from one codebook of N codes."""
    count = len(inputs.documents)
    return Codes(np.arange(count, dtype=np.int32)[:, None], (count,))


def encode_atomic(
    inputs: BuilderInput, settings: AtomicConfig, codebooks: Mapping[str, NDArray[Any]]
) -> NDArray[np.int32]:
    """Raise GenirError, because a model that was trained without a new atomic docid cannot generate it."""
    raise GenirError(
        "atomic docids cannot take new documents, because the model has not learned their codes; build the docids and "
        "train the model again"
    )

"""Atomic docids: one code for each document (DSI, arXiv 2202.06991, section 3.2)."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from genir.docids.table import Codes


def build_atomic(count: int, vectors: NDArray[np.float32], settings: Mapping[str, Any], seed: int) -> Codes:
    """Document i gets the docid (i,): codes [N, 1], one codebook of N codes."""
    return Codes(np.arange(count, dtype=np.int32)[:, None], (count,), {})

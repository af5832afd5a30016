"""Atomic docids: each document has its own code (DSI, arXiv 2202.06991, section 3.2)."""

import numpy as np

from genir.config import AtomicConfig
from genir.docids.table import BuilderInput, Codes


def build_atomic(inputs: BuilderInput, settings: AtomicConfig, seed: int) -> Codes:
    """Assign the docid (i,) to document i: codes [N, 1] from one codebook of N codes."""
    count = len(inputs.documents)
    return Codes(np.arange(count, dtype=np.int32)[:, None], (count,))

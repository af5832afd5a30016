import numpy as np
import pytest

from genir.config import AtomicConfig
from genir.docids.assign import assign_new_docids, build_docids
from genir.errors import GenirError
from tests.helpers.docids import make_table, vector_inputs

INPUTS = vector_inputs(np.zeros((5, 0), np.float32))


def test_atomic_docids_number_the_documents():
    built, final = build_docids(INPUTS, AtomicConfig(), 0)
    assert final.codes.tolist() == built.codes.tolist() == [[0], [1], [2], [3], [4]]
    assert final.sizes == (5,)


def test_atomic_docids_reject_new_documents():
    table = make_table([[0], [1]], (2,), settings={"docids": AtomicConfig().model_dump()})
    with pytest.raises(GenirError, match="atomic docids cannot take new documents"):
        assign_new_docids(INPUTS, table)

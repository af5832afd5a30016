import numpy as np

from genir.config import AtomicConfig
from genir.docids.assign import assign_new_docids, build_docids
from tests.helpers.docids import make_table, vector_inputs

INPUTS = vector_inputs(np.zeros((5, 0), np.float32))


def test_atomic_docids_number_the_documents():
    built, final = build_docids(INPUTS, AtomicConfig(), 0)
    assert final.codes.tolist() == built.codes.tolist() == [[0], [1], [2], [3], [4]]
    assert final.sizes == (5,)


def test_new_documents_get_codes_that_no_document_has_had():
    table = make_table([[0], [1], [2]], (3,), settings={"docids": AtomicConfig().model_dump()})
    assert assign_new_docids(INPUTS, table).tolist() == [[3], [4], [5], [6], [7]]
    fewer = table.subset(np.array([0, 1]))
    assert assign_new_docids(INPUTS, fewer).tolist() == [[3], [4], [5], [6], [7]]
    longer = fewer.extended(["a", "b"], ["", ""], np.array([[3], [4]], np.int32))
    assert longer.sizes == (5,)
    assert longer.codes.tolist() == [[0], [1], [3], [4]]

"""The hits of docids, for tables in which documents share docids."""

import numpy as np
import pytest
import torch

from genir.decoding.index import DocumentIndex
from genir.docids.table import Codes, DocidTable
from genir.docids.trie import Trie
from genir.errors import GenirError

CODES = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [1, 0]], np.int32)


def make_index():
    table = DocidTable.from_codes(
        Codes(CODES, (2, 2), {}), doc_ids=[f"d{i}" for i in range(5)], titles=[f"Title {i}" for i in range(5)]
    )
    return DocumentIndex(table, Trie.from_codes(table.codes))


def test_leaves_are_listed_as_the_documents_in_docid_order():
    """The leaves are d3 (0, 0), d1 (0, 1), and of (1, 0) d0, d2 and d4; a leaf of -1 is padding."""
    hits = make_index().list_hits([4, 2, 0, -1], [-0.5, -0.75, -1.5, -np.inf])
    assert [(hit.rank, hit.doc_id, hit.score, hit.docid, hit.title) for hit in hits] == [
        (1, "d4", -0.5, (1, 0), "Title 4"),
        (2, "d0", -0.75, (1, 0), "Title 0"),
        (3, "d3", -1.5, (0, 0), "Title 3"),
    ]


def test_the_trie_on_its_own_device_is_not_copied():
    index = make_index()
    assert index.trie_on(torch.device("cpu")) is index.trie


def test_documents_are_found_by_their_ids_and_wrong_ones_are_named():
    index = make_index()
    assert index.find_leaves(["d4", "d3"]).tolist() == [4, 0]
    assert index.allow(["d4", "d3", "d4"]).leaves.tolist() == [0, 4]
    for wrong, problem in [(["d1", "d1"], "'d1' is given more than once"), (["x"], "no document 'x'"), ("d1", "list")]:
        with pytest.raises(GenirError, match=problem):
            index.find_leaves(wrong)
    with pytest.raises(GenirError, match="no document 'x'"):
        index.allow(["x"])


def test_k_and_beams_are_limited_to_the_number_of_documents():
    index = make_index()
    assert [index.limit(*x) for x in [(3, None), (9, None), (2, 3), (9, 99)]] == [(3, 5), (5, 5), (2, 3), (5, 5)]
    with pytest.raises(GenirError, match="beams must be"):
        index.limit(3, 0)

"""The hits of docids, for tables in which documents share docids."""

import numpy as np
import torch

from genir.decoding.index import DocumentIndex
from genir.decoding.trie import Trie
from genir.docids.table import Codes, DocidTable

CODES = np.array([[1, 0], [0, 1], [1, 0], [0, 0], [1, 0]], np.int32)


def make_index():
    table = DocidTable.from_codes(
        Codes(CODES, (2, 2), {}), doc_ids=[f"d{i}" for i in range(5)], titles=[f"Title {i}" for i in range(5)]
    )
    return DocumentIndex(table, Trie.from_codes(table.codes))


def test_documents_of_a_docid_are_listed_in_the_order_of_the_collection():
    """Docid numbers: 0 is (0, 0), 1 is (0, 1), 2 is (1, 0)."""
    hits = make_index().list_hits([2, 0, -1], [-0.5, -1.5, -np.inf], 10, None)
    assert [(hit.rank, hit.doc_id, hit.score, hit.docid, hit.title) for hit in hits] == [
        (1, "d0", -0.5, (1, 0), "Title 0"),
        (2, "d2", -0.5, (1, 0), "Title 2"),
        (3, "d4", -0.5, (1, 0), "Title 4"),
        (4, "d3", -1.5, (0, 0), "Title 3"),
    ]


def test_at_most_k_documents_are_listed_and_only_allowed_ones():
    index = make_index()
    assert [hit.doc_id for hit in index.list_hits([2, 1], [-1.0, -2.0], 2, None)] == ["d0", "d2"]
    assert [hit.doc_id for hit in index.list_hits([2, 1], [-1.0, -2.0], 9, np.array([1, 4]))] == ["d4", "d1"]


def test_the_trie_on_its_own_device_is_not_copied():
    index = make_index()
    assert index.trie_on(torch.device("cpu")) is index.trie

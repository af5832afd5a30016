"""The hits of docids, for tables in which documents share docids."""

import numpy as np
import torch

from genir.decoding.index import DocumentIndex
from genir.docids.table import Codes, DocidTable
from genir.docids.trie import Trie

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

"""Hard negatives: draws from rank bands, documents with similar docids, filtering, and reading the negatives file."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from genir.config import Band
from genir.docids import Codes, DocidTable
from genir.docids.order import docid_numbers, order_docids
from genir.errors import GenirError
from genir.training.negatives import (
    NegativeCandidate,
    draw_from_bands,
    filter_negatives,
    find_siblings,
    read_negatives,
)

CODES = st.tuples(st.integers(1, 25), st.integers(1, 3)).flatmap(
    lambda shape: arrays(np.int32, shape, elements=st.integers(0, 2))
)


@given(st.integers(0, 60), st.integers(0, 3))
def test_each_band_yields_its_count_of_documents_from_its_own_ranks(hits, seed):
    bands = [Band(first=1, last=10, count=3), Band(first=11, last=50, count=20), Band(first=51, last=100, count=5)]
    ranking = [1000 + i for i in range(hits)]
    drawn = draw_from_bands(ranking, bands, np.random.default_rng(seed))
    assert drawn == draw_from_bands(ranking, bands, np.random.default_rng(seed))
    for band in bands:
        inside = [c for c in drawn if band.first <= c.rank <= band.last]
        assert len(inside) == min(band.count, max(0, min(band.last, hits) - band.first + 1))
        assert len({c.doc_index for c in inside}) == len(inside)
    assert all(ranking[c.rank - 1] == c.doc_index for c in drawn)
    assert [c.rank for c in drawn] == sorted(c.rank for c in drawn)


@given(CODES, st.integers(0, 30), st.data())
def test_siblings_are_the_documents_with_the_longest_shared_prefixes(codes, count, data):
    doc_index = data.draw(st.integers(0, len(codes) - 1))
    ordered = order_docids(codes)
    found = find_siblings(ordered, np.argsort(ordered.order), doc_index, count)
    others = [other for other in range(len(codes)) if other != doc_index]
    lengths = [int(np.cumprod(codes[doc_index] == codes[other]).sum()) for other in others]
    got = [int(np.cumprod(codes[doc_index] == codes[c.doc_index]).sum()) for c in found]
    assert got == sorted(lengths, reverse=True)[:count]
    assert len({c.doc_index for c in found} | {doc_index}) == len(found) + 1


@given(CODES, st.data())
def test_negatives_have_distinct_docids_that_no_relevant_document_has(codes, data):
    doc_indices = st.integers(0, len(codes) - 1)
    relevant = data.draw(st.lists(doc_indices, min_size=1, max_size=3, unique=True))
    drawn = data.draw(st.lists(doc_indices, max_size=30))
    found = [NegativeCandidate(doc_index, "bm25", rank) for rank, doc_index in enumerate(drawn, 1)]
    dropped = Counter()
    kept = filter_negatives(found, relevant, docid_numbers(codes), dropped)
    docids = [tuple(codes[c.doc_index]) for c in kept]
    assert len(set(docids)) == len(docids)
    assert set(docids) == {tuple(codes[c.doc_index]) for c in found} - {tuple(codes[i]) for i in relevant}
    assert len(kept) + sum(dropped.values()) == len(found)


TABLE = DocidTable.from_codes(Codes(np.array([[0], [1], [2]], np.int32), (3,)), doc_ids="abc", titles="ABC")


def test_mined_negatives_are_read_as_document_indices(tmp_path):
    assert read_negatives(tmp_path / "negatives.jsonl", TABLE, {"q1"}) == {}
    entry = {"query_id": "q1", "negatives": [{"doc_id": "c", "rank": 1}, {"doc_id": "a", "rank": 2}]}
    (tmp_path / "negatives.jsonl").write_text(json.dumps(entry) + "\n")
    assert read_negatives(tmp_path / "negatives.jsonl", TABLE, {"q1"}) == {"q1": [2, 0]}


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[]",
        '{"query_id": "p"}',
        '{"query_id": "p", "negatives": [{"doc_id": "x"}]}',
        '{"query_id": "unknown", "negatives": [{"doc_id": "a"}]}',
        '{"query_id": "q", "negatives": [{"doc_id": "a"}]}',
        '{"query_id": ["p"], "negatives": []}',
        '{"query_id": "p", "negatives": [], "query_id": "p"}',
    ],
)
def test_a_malformed_line_of_mined_negatives_is_an_error_with_its_number(tmp_path, line):
    (tmp_path / "negatives.jsonl").write_text('{"query_id": "q", "negatives": []}\n' + line + "\n")
    with pytest.raises(
        GenirError, match=r"negatives\.jsonl:2: (not valid JSON|this line was not written by the negatives stage)"
    ):
        read_negatives(tmp_path / "negatives.jsonl", TABLE, {"q", "p"})

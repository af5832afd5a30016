"""The synthetic passages of the benchmark of the experts: their statistics, and that their index is a BM25 index."""

from collections import Counter

import numpy as np
import pytest

from genir.benchmarks.passages import (
    COMMON_TERMS,
    MAX_SHARE,
    QUERY_TERMS,
    TERMS_PER_DOCUMENT,
    make_document_frequencies,
    make_index,
    make_queries,
)

DOCUMENTS, TERMS = 2000, 3000


def test_document_frequencies_follow_zipf_and_have_the_mean_of_passages():
    counts = make_document_frequencies(DOCUMENTS, TERMS)
    assert counts.sum() / DOCUMENTS == pytest.approx(TERMS_PER_DOCUMENT, rel=0.01)
    assert counts.max() == MAX_SHARE * DOCUMENTS
    assert counts.min() >= 1
    ranks = np.arange(50, 500)
    assert np.polyfit(np.log(ranks), np.log(counts[ranks - 1]), 1)[0] == pytest.approx(-1, abs=0.05)


def test_scores_of_a_term_belong_to_as_many_documents_as_its_frequency_says():
    index = make_index(DOCUMENTS, TERMS)
    counts = make_document_frequencies(DOCUMENTS, TERMS)
    for term in (0, 5, 40, 300, 2999):
        positions, scores = index.score(f"t{term:07d}")
        assert len(positions) == pytest.approx(counts[term], abs=4 * counts[term] ** 0.5)
        assert (np.diff(positions) > 0).all()
        assert (scores > 0).all()


def test_an_index_is_read_as_it_was_saved(tmp_path):
    index = make_index(DOCUMENTS, TERMS)
    index.save(tmp_path / "index")
    query = make_queries(DOCUMENTS, TERMS, 1)[0]
    for wanted, found in zip(index.score(query), index.load(tmp_path / "index").score(query), strict=True):
        assert (wanted == found).all()


def test_queries_have_frequent_terms_more_often_but_not_the_most_frequent_ones():
    queries = make_queries(DOCUMENTS, TERMS, 3000)
    counts = Counter(int(term[1:]) for query in queries for term in query.split())
    assert {len(query.split()) for query in queries} == {QUERY_TERMS}
    assert min(counts) == COMMON_TERMS
    assert counts[COMMON_TERMS] == pytest.approx(10 * counts[10 * COMMON_TERMS], rel=0.6)

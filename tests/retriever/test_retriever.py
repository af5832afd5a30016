"""Searching with a retriever: hits, filters, exact and proven results, and invalid arguments."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp

from genir import Retriever
from genir.bm25.bm25s_index import BM25sIndex
from genir.config import BaselineConfig
from genir.decoding.deadline import Deadline
from genir.errors import GenirError, SearchTimeout
from tests.helpers.retrievers import clear_head, make_documents, with_bm25

CODES = np.array([[0, 1], [2, 0], [1, 1], [2, 0], [0, 0]])


@pytest.fixture
def retriever(make_retriever):
    return make_retriever(CODES, (3, 2))


def test_hits_are_ranked_by_score_and_have_a_docid_and_title(retriever):
    hits = retriever.search("owls hunt mice", k=5)
    assert [hit.rank for hit in hits] == [1, 2, 3, 4, 5]
    assert sorted(hit.doc_id for hit in hits) == [f"d{i}" for i in range(5)]
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)
    for hit in hits:
        doc_index = int(hit.doc_id[1:])
        assert hit.docid == tuple(CODES[doc_index])
        assert hit.title == f"Title {doc_index}"
    sharing = [hit.doc_id for hit in hits if hit.docid == (2, 0)]
    assert sharing == ["d1", "d3"]  # documents that share a docid are in the collection's order


@pytest.mark.slow
@pytest.mark.parametrize("experts", [False, True])
def test_search_many_finds_what_search_finds_at_any_batch_size(retriever, experts):
    retriever = with_bm25(retriever, make_documents(5)) if experts else retriever
    queries = ["owls hunt", "tea", "glaciers carve valleys and trains", "mice", "nothing known"]
    single = [retriever.search(query, k=3) for query in queries]
    for batch_size in (1, 3, 32):
        many = retriever.search_many(queries, k=3, batch_size=batch_size)
        assert [[hit.doc_id for hit in hits] for hits in many] == [[hit.doc_id for hit in hits] for hits in single]
        np.testing.assert_allclose(
            [[hit.score for hit in hits] for hits in many], [[hit.score for hit in hits] for hits in single], atol=1e-5
        )
    assert retriever.search_many([]) == []


@pytest.mark.slow
def test_a_search_among_allowed_documents_ranks_as_if_there_were_no_others(retriever):
    names = [f"d{i}" for i in range(5)]
    for some in (names, names[::2], names[1:3], names[:1]):
        other = Retriever(retriever.model, retriever.tokenizer, retriever.table)
        other.remove(set(names) - set(some))
        expected = other.search("owls hunt mice", k=100, beams=100)
        found = retriever.search("owls hunt mice", k=100, beams=100, allowed=some)
        assert [hit.doc_id for hit in found] == [hit.doc_id for hit in expected]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-5)
        assert math.fsum(math.exp(hit.score) for hit in found) == pytest.approx(1, abs=1e-5)
    assert len(retriever.search("owls", allowed=[])) == 0
    with pytest.raises(GenirError, match="no document 'nowhere'"):
        retriever.search("owls", allowed=["nowhere"])


@pytest.mark.slow
@pytest.mark.parametrize("share", [False, True])
def test_an_exact_search_finds_what_a_search_with_all_beams_finds(make_retriever, share):
    """With one beam, at any batch size, among some documents or all, and also if documents share docids."""
    codes = np.random.default_rng(0).integers(0, 3 if share else 8, (60, 3))
    retriever = make_retriever(codes, (8, 8, 8))
    questions = ["owls hunt mice", "tea leaves wither in the sun", "glaciers", "bridges carry trains"]
    some = {f"d{i}" for i in range(0, 60, 2)}
    for allowed in (None, some):
        expected = retriever.search_many(questions, k=7, beams=1000, allowed=allowed)
        assert all(hits.exact and len(hits) == 7 for hits in expected)
        narrow = retriever.search_many(questions, k=7, beams=1, allowed=allowed)
        assert not any(hits.exact for hits in narrow)
        for batch_size in (1, 3):
            found = retriever.search_many(questions, 7, 1, allowed, batch_size, exact=True)
            assert all(hits.exact for hits in found)
            assert [[hit.doc_id for hit in hits] for hits in found] == [
                [hit.doc_id for hit in hits] for hits in expected
            ]


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 12), st.booleans(), st.booleans())
def test_proven_hits_are_the_first_hits_of_an_exact_search(make_retriever, seed, beams, k, shared, filtered):
    """Documents may share docids; the search may be among some documents only."""
    codes = np.random.default_rng(seed).integers(0, 3 if shared else 6, (60, 4))
    retriever = make_retriever(codes, (6,) * 4, seed=seed)
    allowed = [f"d{i}" for i in range(0, 60, 2)] if filtered else None
    for query in ("owls hunt mice", "tea"):
        hits = retriever.search(query, k, beams, allowed)
        exact = retriever.search(query, k, beams, allowed, exact=True)
        assert exact.exact
        assert exact.num_proven == len(exact)
        assert 0 <= hits.num_proven <= len(hits)
        assert not hits.exact or hits.num_proven == len(hits)
        # Documents whose scores differ by rounding may change places, so their true scores are compared.
        truth = {hit.doc_id: hit.score for hit in retriever.search(query, 100, 100, allowed)}
        proven = [truth[hit.doc_id] for hit in hits[: hits.num_proven]]
        assert proven == pytest.approx([hit.score for hit in exact[: len(proven)]], abs=1e-4)


@pytest.mark.slow
def test_narrow_searches_prove_some_hits_but_not_all(make_retriever):
    """Otherwise the number of proven hits would tell no more than whether the search is exact."""
    retriever = make_retriever(np.random.default_rng(0).integers(0, 5, (300, 4)), (5,) * 4)
    with torch.no_grad():
        retriever.model.t5.lm_head.weight.mul_(0.25)  # random weights are surer of their choices than trained ones
    results = retriever.search_many(["owls hunt mice", "tea leaves", "glaciers", "bridges carry trains"], 10, 10)
    assert any(0 < hits.num_proven < len(hits) for hits in results)


@pytest.mark.parametrize("value", [0, -1, 2.5, "3", None])
@pytest.mark.parametrize("name", ["k", "beams", "batch_size"])
def test_arguments_that_are_not_positive_integers_are_refused(retriever, name, value):
    if (name, value) == ("beams", None):
        return  # the default
    with pytest.raises(GenirError, match=f"{name} must be an integer of at least 1, got {value!r}"):
        retriever.search_many(["owls"], **{name: value})


def test_numbers_larger_than_the_collection_mean_all_documents(retriever):
    assert len(retriever.search("owls", k=10**30, beams=10**30)) == 5
    assert retriever.search("owls", k=np.int64(99)) == retriever.search("owls", k=5)


@pytest.mark.parametrize(
    ("queries", "words"),
    [
        (["owls", " \n"], "query 1 is empty"),
        (["owls", 7], "query 1 must be a string, got 7"),
        (["caf\udce9"], "the query is not valid UTF-8"),
        ("owls", "queries must be a list of strings, got 'owls'"),
        (None, "queries must be a list of strings"),
    ],
)
def test_an_invalid_query_is_named_in_the_error(retriever, queries, words):
    with pytest.raises(GenirError, match=words):
        retriever.search_many(queries)


def test_a_search_that_takes_too_long_is_an_error_and_a_timeout_that_is_not_reached_changes_nothing(retriever):
    with pytest.raises(SearchTimeout, match="stopped after 1e-09 s"):
        retriever.search("owls", timeout=1e-9)
    expected = retriever.search_many(["owls", "tea"], exact=True)
    assert retriever.search_many(["owls", "tea"], exact=True, timeout=1e6) == expected
    assert retriever.search("owls", exact=True, timeout=Deadline()) == retriever.search("owls", exact=True)
    with pytest.raises(GenirError, match="timeout must be a positive number"):
        retriever.search("owls", timeout=0)


@pytest.mark.slow
def test_any_iterable_but_a_string_is_accepted_as_a_list(retriever):
    expected = retriever.search_many(["owls", "tea"], allowed=["d1", "d3"])
    assert retriever.search_many((q for q in ("owls", "tea")), allowed={"d1": 0, "d3": 0}.keys()) == expected
    for call in (lambda: retriever.search("owls", allowed="d1"), lambda: retriever.remove("d1")):
        with pytest.raises(GenirError, match="must be a list of strings, got 'd1'"):
            call()


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("where", ["head", "code of the first level", "code of the second level", "encoder"])
def test_nan_scores_are_an_error_and_leave_the_model_in_its_mode(make_retriever, where, exact):
    """Otherwise there would be fewer hits, called exact."""
    codes = np.random.default_rng(0).integers(0, 8, (60, 6))
    retriever = make_retriever(codes, (8,) * 6)
    t5, base = retriever.model.t5, retriever.model.layout.base
    damaged = {
        "head": t5.lm_head.weight[base:],
        "code of the first level": t5.shared.weight[base + codes[0, 0]],  # scores of the codes after it are NaN
        "code of the second level": t5.lm_head.weight[base + 8 + codes[0, 1]],
        "encoder": t5.encoder.final_layer_norm.weight,
    }
    damaged[where].data.fill_(torch.nan)
    t5.train(True)
    with pytest.raises(GenirError, match="the model returned NaN scores"):
        retriever.search("owls hunt", k=60 if where.startswith("code of the first") else 5, exact=exact)
    assert t5.training


def bm25_prior(documents, query, weight):
    """The log of the share of each document of the sum of exp(weight * score), with the scores of bm25s."""
    index = BM25sIndex(documents, BaselineConfig())
    scores = np.zeros(len(documents))
    for doc_id, score in index.search_many([query], len(documents))[0]:
        scores[int(doc_id[1:])] = weight * score
    return scores - logsumexp(scores)


def test_a_model_with_a_zero_head_ranks_as_bm25_does(make_retriever):
    documents = make_documents(60)
    codes = np.random.default_rng(0).integers(0, 4, (60, 3))  # some documents share a docid
    retriever = with_bm25(make_retriever(codes, (4, 4, 4)), documents, 1.5)
    clear_head(retriever)
    for query in ("owls hunt mice", "glaciers carve tea tea", "nothing known"):
        expected = bm25_prior(documents, query, 1.5)
        found = {hit.doc_id: hit.score for hit in retriever.search(query, k=60, beams=60)}
        assert found == pytest.approx({f"d{i}": score for i, score in enumerate(expected)}, abs=1e-4)
        hits = retriever.search(query, k=10, beams=1, exact=True)
        assert [hit.score for hit in hits] == pytest.approx(sorted(expected, reverse=True)[:10], abs=1e-4)


def test_queries_of_unknown_characters_or_thousands_of_words_are_ranked(retriever):
    assert len(retriever.search("日本語 ???", k=2)) == 2
    assert len(retriever.search("owls " * 5000, k=2)) == 2


def test_a_model_in_training_mode_stays_in_it_after_a_search(retriever):
    retriever.model.t5.train()
    retriever.search("owls")
    assert retriever.model.t5.training

"""Fitted parameters of BM25, compared with bm25s, plain mathematics, and parameters that samples were drawn with."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from genir.bm25 import BM25sIndex
from genir.config import BaselineConfig
from genir.embedders import fit_tfidf
from genir.scoring import fit
from genir.scoring.dense import DenseIndex
from genir.scoring.fit import ExpertParameters, GivenParameters, fit_parameters
from genir.scoring.lexical import LexicalIndex
from tests.helpers.retrievers import WORDS, make_documents

DOCUMENTS = make_documents(60)
TEXTS = [document.text for document in DOCUMENTS]
TITLES = [" ".join(document.text.split()[:2]) for document in DOCUMENTS]
DEFAULT = ExpertParameters(0.9, 0.4, 1.0)


def build(texts, k1=0.9, b=0.4):
    return LexicalIndex.build(texts, BaselineConfig(k1=k1, b=b))


def make_queries(count, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 3)) for _ in range(count)]


def score_all(texts, queries, parameters):
    """The scores of bm25s times the weight, [queries, documents]."""
    documents = [d._replace(title="", text=text) for d, text in zip(DOCUMENTS, texts, strict=True)]
    index = BM25sIndex(documents, BaselineConfig(k1=parameters.k1, b=parameters.b))
    scores = np.zeros((len(queries), len(documents)))
    for row, hits in zip(scores, index.search_many(queries, 60), strict=True):
        for doc_id, score in hits:
            row[int(doc_id[1:])] = score
    return scores * parameters.weight


def draw_relevant(scores, count=1, seed=0):
    """Relevant documents of each query, drawn with probabilities proportional to exp(score)."""
    rng = np.random.default_rng(seed)
    return [rng.choice(len(row), count, replace=False, p=softmax(row)).tolist() for row in scores]


def compute_loss(fields, queries, relevant, parameters, expected, ignored):
    """The mean of -log p(d | q) over all documents but the ignored one of each query, and the prior."""
    scores = sum(score_all(texts, queries, p) for texts, p in zip(fields, parameters, strict=True))
    for row, documents in zip(scores, ignored, strict=True):
        row[documents] = -np.inf
    likelihood = np.mean([logsumexp(row) - row[ds].mean() for row, ds in zip(scores, relevant, strict=True)])
    distances = [
        (math.log(p.k1 / e.k1), 2 * (p.b - e.b), p.weight - e.weight) for p, e in zip(parameters, expected, strict=True)
    ]
    return likelihood + np.square(distances).sum() / 2 / len(queries)


@pytest.mark.parametrize(("count", "own"), [(1, False), (3, False), (1, True)])
def test_no_other_parameters_near_the_fitted_ones_have_a_smaller_loss(count, own):
    queries = make_queries(30)
    fields, expected = [TEXTS, TITLES], [DEFAULT, ExpertParameters(0.9, 0.4, 0.0)]
    truth = [ExpertParameters(1.5, 0.8, 1.2), ExpertParameters(1.0, 0.5, 0.8)]
    relevant = draw_relevant(sum(score_all(t, queries, p) for t, p in zip(fields, truth, strict=True)), count)
    ignored = [[(documents[0] + 7) % 60] if own else [] for documents in relevant]
    indexes, given = [build(t) for t in fields], [GivenParameters()] * 2
    found = fit_parameters(indexes, queries, relevant, expected, given, ignored)
    best = compute_loss(fields, queries, relevant, found, expected, ignored)
    for field in range(2):
        for change in ({"k1": 1.15}, {"k1": 0.87}, {"b": 0.9}, {"b": 1.1}, {"weight": 0.93}, {"weight": 1.07}):
            changed = list(found)
            changed[field] = found[field]._replace(**{n: getattr(found[field], n) * x for n, x in change.items()})
            if changed[field].b <= 1:
                assert compute_loss(fields, queries, relevant, changed, expected, ignored) > best - 1e-5


def test_the_parameters_with_which_relevant_documents_were_drawn_are_found_again():
    queries = make_queries(3000)
    truth = [ExpertParameters(1.5, 0.5, 1.4), ExpertParameters(0.9, 0.4, 0.6)]
    scores = sum(score_all(t, queries, p) for t, p in zip([TEXTS, TITLES], truth, strict=True))
    found = fit_parameters(
        [build(TEXTS), build(TITLES)],
        queries,
        draw_relevant(scores),
        [DEFAULT, DEFAULT],
        [GivenParameters(k1=1.5, b=0.5), GivenParameters(k1=0.9, b=0.4)],
    )
    assert [p.weight for p in found] == pytest.approx([1.4, 0.6], abs=0.1)


def test_the_parameters_of_the_index_do_not_matter():
    queries = make_queries(20)
    relevant = draw_relevant(score_all(TEXTS, queries, DEFAULT))
    first, second = (
        fit_parameters([build(TEXTS, *x)], queries, relevant, [DEFAULT], [GivenParameters()])
        for x in [(0.9, 0.4), (2.0, 0.9)]
    )
    assert first == second


def test_given_parameters_are_taken_as_they_are_even_beyond_the_bounds_of_the_search():
    queries = make_queries(20)
    relevant = draw_relevant(score_all(TEXTS, queries, DEFAULT))
    for given in [(0.0, 0.3, 2.5), (500.0, 1.0, 900.0), (None, 0.7, None), (2.0, None, 0.0)]:
        (found,) = fit_parameters([build(TEXTS)], queries, relevant, [DEFAULT], [GivenParameters(*given)])
        for name, value in zip(found._fields, given, strict=True):
            assert value is None or getattr(found, name) == value
        assert all(math.isfinite(value) for value in found)


def test_without_queries_the_parameters_are_the_expected_ones():
    expected = [ExpertParameters(1.1, 0.3, 1.0), ExpertParameters(0.7, 0.6, 0.0)]
    found = fit_parameters([build(TEXTS), build(TITLES)], [], [], expected, [GivenParameters()] * 2)
    assert np.allclose(found, expected)


def test_one_query_changes_the_parameters_only_a_little():
    """Its document is in the first place already, so that the likelihood alone would choose the largest weight."""
    query = DOCUMENTS[7].text
    (found,) = fit_parameters([build(TEXTS)], [query], [[7]], [DEFAULT], [GivenParameters()])
    assert 0.3 < found.k1 < 3
    assert 0.5 < found.weight < 3


def test_queries_of_unknown_words_change_nothing():
    (found,) = fit_parameters([build(TEXTS)], ["unknown words", ""], [[3], [4]], [DEFAULT], [GivenParameters()])
    assert np.allclose(found, DEFAULT, atol=1e-3)


def test_a_collection_with_very_many_postings_is_fitted_on_fewer_queries(monkeypatch):
    queries = make_queries(20)
    relevant = draw_relevant(score_all(TEXTS, queries, DEFAULT))
    arguments = [DEFAULT], [GivenParameters()]
    sizes = [len(entries.positions) for entries in build(TEXTS).find_entries(queries)]
    expected = fit_parameters([build(TEXTS)], queries[:5], relevant[:5], *arguments)
    monkeypatch.setattr(fit, "MAX_POSTINGS", sum(sizes[:5]))
    assert fit_parameters([build(TEXTS)], queries, relevant, *arguments) == expected


def test_the_weight_of_a_dense_expert_is_fitted_with_the_parameters_of_bm25():
    """Relevant documents are drawn from the sum of both, so that about the same weights are found again."""
    embedder = fit_tfidf(DOCUMENTS, 8, 0, "corpus")
    dense = DenseIndex(embedder.embed(DOCUMENTS), embedder)
    queries = make_queries(3000)
    cosines = embedder.embed_queries(queries) @ dense.vectors.T
    scores = score_all(TEXTS, queries, ExpertParameters(0.9, 0.4, 1.2)) + 0.7 * 20 * cosines
    lexical, found = fit_parameters(
        [build(TEXTS), dense],
        queries,
        draw_relevant(scores),
        [DEFAULT, DEFAULT],
        [GivenParameters(k1=0.9, b=0.4), GivenParameters(k1=0.0, b=0.0)],
    )
    assert (lexical.weight, found.weight) == pytest.approx((1.2, 0.7), abs=0.1)
    assert found[:2] == (0.0, 0.0)

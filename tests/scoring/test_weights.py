"""Fitted weights, compared with a search over a grid, with another method of scipy, and with the weight of samples."""

import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.special import softmax

from genir.bm25 import BM25sIndex
from genir.config import BaselineConfig
from genir.scoring.lexical import LexicalIndex
from genir.scoring.weights import MAX_WEIGHT, fit_weight
from tests.helpers.retrievers import WORDS, make_documents

DOCUMENTS = make_documents(60)


@pytest.fixture(scope="module")
def index():
    return LexicalIndex.build(DOCUMENTS, BaselineConfig())


def make_queries(count, seed=0):
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, 3)) for _ in range(count)]


def score_all(texts):
    """The scores of bm25s, [queries, documents]."""
    scores = np.zeros((len(texts), len(DOCUMENTS)))
    for row, hits in zip(scores, BM25sIndex(DOCUMENTS, BaselineConfig()).search_many(texts, 60), strict=True):
        for doc_id, score in hits:
            row[int(doc_id[1:])] = score
    return scores


def draw_relevant(scores, weight, count=1, seed=0):
    """Relevant documents of each query, drawn with probabilities proportional to exp(weight * score)."""
    rng = np.random.default_rng(seed)
    return [rng.choice(len(row), count, replace=False, p=softmax(weight * row)).tolist() for row in scores]


@pytest.mark.parametrize("count", [1, 3])
def test_the_weight_is_the_best_of_a_grid(index, count):
    texts = make_queries(30)
    scores = score_all(texts)
    relevant = draw_relevant(scores, 0.9, count)

    def likelihood(weight):
        total = 0.0
        for row, documents in zip(scores.tolist(), relevant, strict=True):
            normaliser = math.log(sum(math.exp(weight * score) for score in row))
            total += sum(weight * row[d] - normaliser for d in documents) / len(documents)
        return total

    best = max((step / 100 for step in range(301)), key=likelihood)
    assert 0 < best < 3
    assert fit_weight(index, texts, relevant) == pytest.approx(best, abs=0.01)


def test_the_expected_score_under_the_weight_is_that_of_the_relevant_documents(index):
    """This is where the derivative of the likelihood is zero, which scipy finds as the root of a function."""
    texts = make_queries(40, seed=1)
    scores = score_all(texts)
    relevant = draw_relevant(scores, 0.5, seed=1)
    wanted = sum(row[documents].mean() for row, documents in zip(scores, relevant, strict=True))
    root = brentq(lambda weight: (softmax(weight * scores, 1) * scores).sum() - wanted, 0, MAX_WEIGHT)
    assert fit_weight(index, texts, relevant) == pytest.approx(root, abs=3e-3)


@pytest.mark.parametrize("weight", [0.3, 1.2])
def test_the_weight_with_which_relevant_documents_were_drawn_is_found_again(index, weight):
    texts = make_queries(1000)
    relevant = draw_relevant(score_all(texts), weight)
    assert fit_weight(index, texts, relevant) == pytest.approx(weight, abs=0.1)


def test_scores_of_documents_that_are_never_relevant_get_no_weight(index):
    """The text of the query is known, but only in other documents than the relevant one, or in none at all."""
    lowest = score_all(["owls mice"])[0].argmin()
    assert fit_weight(index, ["owls mice"], [[int(lowest)]]) < 0.01
    assert 0 <= fit_weight(index, ["nothing known"], [[0]]) <= MAX_WEIGHT


def test_scores_that_are_never_wrong_get_the_largest_weight(index):
    text = DOCUMENTS[7].text + " title 7"
    best = score_all([text])[0].argmax()
    assert fit_weight(index, [text], [[int(best)]]) > 0.9 * MAX_WEIGHT

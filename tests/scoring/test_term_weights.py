"""Learned term weights, compared with plain mathematics over the scores of bm25s."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp, softmax

from genir.bm25 import BM25sIndex
from genir.config import BaselineConfig
from genir.embedders import fit_tfidf
from genir.records import Document
from genir.scoring import term_weights
from genir.scoring.dense import DenseIndex
from genir.scoring.experts import Experts
from genir.scoring.lexical import LexicalIndex
from genir.scoring.term_weights import fit_term_weights

RNG = np.random.default_rng(0)
WORDS = [f"word{chr(97 + i)}x" for i in range(12)]
TEXTS = [" ".join(RNG.choice(WORDS, 6)) for _ in range(50)]
TITLES = [" ".join(RNG.choice(WORDS, 2)) for _ in range(50)]
FACTORS = {"text": 1.5, "title": 0.7}
QUERIES = [" ".join(RNG.choice(WORDS, 4, replace=False)) for _ in range(400)]
TRUTH = {word: 0.1 if i < 4 else 2.0 if i < 8 else 1.0 for i, word in enumerate(WORDS)}


def make_experts(texts=TEXTS, titles=TITLES, **others):
    """Experts for text and title, and others with the weight 1."""
    indexes = {
        "text": LexicalIndex.build(texts, BaselineConfig()),
        "title": LexicalIndex.build(titles, BaselineConfig()),
    }
    return Experts(indexes | others, FACTORS | dict.fromkeys(others, 1.0))


def score_term(word):
    """The sum of the weighted scores of bm25s for a query of one word, for all documents."""
    scores = np.zeros(len(TEXTS))
    for name, texts in (("text", TEXTS), ("title", TITLES)):
        index = BM25sIndex([Document(str(i), "", text) for i, text in enumerate(texts)], BaselineConfig())
        for doc_id, score in index.search_many([word], len(texts))[0]:
            scores[int(doc_id)] += FACTORS[name] * score
    return scores


SCORES = {word: score_term(word) for word in WORDS}


def score(query, weights):
    return sum(weights.get(word, 1.0) * SCORES[word] for word in query.split())


def draw_relevant(weights, count=1):
    rng = np.random.default_rng(1)
    return [rng.choice(len(TEXTS), count, replace=False, p=softmax(2 * score(q, weights))).tolist() for q in QUERIES]


def compute_loss(weights, relevant, deviation, ignored):
    """-log p(d | q) over all documents but the ignored ones, which so few are all candidates, and the prior."""
    losses = []
    for query, documents, left_out in zip(QUERIES, relevant, ignored, strict=True):
        scores = score(query, weights)
        scores[left_out] = -np.inf
        losses.append(logsumexp(scores) - scores[documents].mean())
    return sum(losses) + sum(((weight - 1) / deviation) ** 2 / 2 for weight in weights.values())


@pytest.mark.parametrize(("count", "own"), [(1, False), (3, False), (1, True)])
def test_no_other_weights_near_the_learned_ones_have_a_smaller_loss(monkeypatch, count, own):
    """With `own`, the document with the highest score is ignored, unless it is relevant."""
    monkeypatch.setattr(term_weights, "DEVIATIONS", (0.3,))
    relevant = draw_relevant(TRUTH, count)
    best_documents = [int(score(query, {}).argmax()) for query in QUERIES]
    ignored = [[d] if own and d not in r else [] for d, r in zip(best_documents, relevant, strict=True)]
    found = fit_term_weights(make_experts(), QUERIES, relevant, ignored)
    assert found.keys() == {*WORDS}
    best = compute_loss(found, relevant, 0.3, ignored)
    assert best < compute_loss(dict.fromkeys(WORDS, 1.0), relevant, 0.3, ignored) - 10
    for word in WORDS:
        for change in (-0.05, 0.05):
            weight = max(0.0, found[word] + change)
            assert compute_loss(found | {word: weight}, relevant, 0.3, ignored) > best - 1e-3


def test_words_that_count_more_for_relevant_documents_get_larger_weights():
    found = fit_term_weights(make_experts(), QUERIES, draw_relevant(TRUTH))
    low, high, usual = ([found[word] for word in WORDS[first : first + 4]] for first in (0, 4, 8))
    assert max(low) < min(usual)
    assert max(usual) < min(high)
    assert min(found.values()) >= 0


def test_weights_that_do_not_rank_held_out_queries_better_are_not_learned():
    """Every word of a query is in its document alone, which weights of 1 rank first already."""
    texts = [f"alpha{chr(97 + i)} beta{chr(97 + i)}" for i in range(20)]
    relevant = list(range(20)) * 4
    queries = [texts[i] for i in relevant]
    index = LexicalIndex.build(texts, BaselineConfig())
    assert fit_term_weights(Experts({"text": index}, {"text": 1.0}), queries, [[i] for i in relevant]) == {}


def test_the_strength_of_the_prior_follows_the_data():
    """Where relevant documents are drawn with very unequal weights, weights far from 1 are learned, and else not."""
    unequal = fit_term_weights(make_experts(), QUERIES, draw_relevant(TRUTH))
    equal = fit_term_weights(make_experts(), QUERIES, draw_relevant({}))

    def spread(weights):
        return np.std([weights.get(word, 1.0) for word in WORDS])

    assert spread(equal) < spread(unequal) / 2


def test_rare_terms_and_terms_of_no_document_do_no_harm():
    queries = [*QUERIES, "unknown", "unknown wordzx", "wordzx unknown"]
    relevant = [*draw_relevant(TRUTH), [0], [1], [2]]
    found = fit_term_weights(make_experts(), queries, relevant)
    assert "wordzx" not in found  # in fewer than three queries
    assert "unknown" not in found  # about which the documents say nothing
    for few in (0, 1, 2):
        assert fit_term_weights(make_experts(), queries[:few], relevant[:few]) == {}
    assert fit_term_weights(make_experts(), ["unknown"] * 5, [[0]] * 5) == {}


def test_other_experts_take_part_but_get_no_weights():
    """Character n-grams and vectors change which weights are best, since they are part of the scores."""
    ngrams = LexicalIndex.build(TEXTS, BaselineConfig(), 5)
    documents = [Document(str(i), "", text) for i, text in enumerate(TEXTS)]
    embedder = fit_tfidf(documents, 8, 0, "corpus")
    dense = DenseIndex(embedder.embed(documents), embedder)
    relevant = draw_relevant(TRUTH)
    alone = fit_term_weights(make_experts(), QUERIES, relevant)
    together = fit_term_weights(make_experts(characters=ngrams, dense=dense), QUERIES, relevant)
    assert together.keys() == alone.keys()
    assert together != pytest.approx(alone, abs=0.01)
    for experts in (Experts({"characters": ngrams}, {"characters": 1.0}), Experts({"dense": dense}, {"dense": 1.0})):
        assert fit_term_weights(experts, QUERIES, relevant) == {}


def test_an_index_with_weights_scores_as_the_weighted_sum_of_its_terms():
    weights = {"wordax": 0.0, "wordbx": 2.5, "wordcx": 0.3}
    index = LexicalIndex.build(TEXTS, BaselineConfig()).with_term_weights(weights)
    plain = BM25sIndex([Document(str(i), "", text) for i, text in enumerate(TEXTS)], BaselineConfig())
    for query in QUERIES[:50]:
        expected = np.zeros(len(TEXTS))
        for word in query.split():
            for doc_id, value in plain.search_many([word], len(TEXTS))[0]:
                expected[int(doc_id)] += weights.get(word, 1.0) * value
        found = np.zeros(len(TEXTS))
        positions, scores = index.score(query)
        found[positions] = scores
        assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)
        parts = index.score_terms(query)
        assert sum(part.scores.sum() for part in parts.values()) == pytest.approx(expected.sum(), rel=1e-4)
    assert math.isclose(index.extended(["wordbx"]).term_weights["wordbx"], 2.5)

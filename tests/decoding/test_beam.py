"""Beam search against scores in plain math, against Hugging Face, and against a plain search on random tries."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.decoding.beam import beam_search
from genir.decoding.full_softmax import _DIRECT_PER_BEAM
from genir.docids.trie import Trie
from genir.model import DocidModel, Encoded
from genir.scoring.logps import document_logps
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import (
    assert_same_ranking,
    brute_force,
    make_masses,
    paths_in_order,
    prefix_logps,
    random_codes,
    random_log_priors,
    random_queries,
    random_text_docids,
)

BOTH = pytest.mark.parametrize("softmax_over", ["trie", "full"])


@pytest.mark.parametrize("v10", [True, False])
@BOTH
@pytest.mark.parametrize("sizes", [(9,), (4, 4), (3, 4, 2, 5)])
def test_a_search_with_as_many_beams_as_documents_equals_scoring_every_document(sizes, softmax_over, v10):
    model = make_model(sizes, softmax_over, v10)
    codes = random_codes(25, sizes, 1)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(5, 25, 0)
    encoded = model.encode(*random_queries(5))
    result = beam_search(model, trie, encoded, trie.size, trie.size, masses=make_masses(trie, log_priors))
    assert_same_ranking(result, *brute_force(model, codes, encoded, log_priors))
    assert result.exact.all()


@pytest.mark.parametrize("v10", [True, False])
@BOTH
def test_a_search_of_text_docids_of_unequal_lengths_equals_scoring_every_document(v10, softmax_over):
    model = make_text_model(6, softmax_over=softmax_over, v10=v10)
    codes = random_text_docids(60, 6, 1)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(3, 60, 0)
    encoded = model.encode(*random_queries(3))
    leaves, scores = brute_force(model, codes, encoded, log_priors)
    result = beam_search(model, trie, encoded, trie.size, 10, masses=make_masses(trie, log_priors))
    assert_same_ranking(result, leaves[:, :10], scores[:, :10])


def plain_search(logp, documents, beams, k, ends_where_unique):
    """The k best documents of a beam search over a set of paths; logp(prefix): the log-probability of a prefix.

    ends_where_unique: whether a document is found as soon as its prefix belongs to no other one.
    """

    def is_found(prefix):
        return prefix in documents or (ends_where_unique and len(below(prefix)) == 1)

    def below(prefix):
        return [path for path in documents if path[: len(prefix)] == prefix]

    live, finished, level = [()], below(()) if is_found(()) else [], 0
    while live and not finished[len(documents) - 1 :]:
        level += 1
        candidates = sorted({path[:level] for path in documents if path[: level - 1] in live})
        ranked = sorted(candidates, key=lambda prefix: (-logp(prefix), prefix))
        finished += [below(prefix)[0] for prefix in ranked[:beams] if is_found(prefix)]
        live = [prefix for prefix in ranked if not is_found(prefix)][:beams]
    return sorted(finished, key=lambda path: (-logp(path), path))[:k]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_search_equals_a_plain_one_and_exact_results_are_the_true_best(data):
    """Random tries, models with flat or sharp distributions, masses, filters and beam sizes.

    With a softmax over the trie, docids may be shared.
    """
    seed = data.draw(st.integers(0, 10**6))
    softmax_over = data.draw(st.sampled_from(["trie", "full"]))
    count, levels = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    beams, k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    if data.draw(st.booleans()):
        model, codes = (
            make_text_model(levels, seed=seed, softmax_over=softmax_over),
            random_text_docids(count, levels, seed),
        )
    else:
        sizes = tuple(np.random.default_rng(seed).integers(1, 5, levels).tolist())
        model, codes = make_model(sizes, softmax_over, seed=seed), random_codes(count, sizes, seed)
    if (
        softmax_over == "full"
    ):  # with few beams, how many of the documents of a docid are found depends on the way they are scored
        codes = np.unique(codes, axis=0)
    count = len(codes)
    model.t5.lm_head.weight.data.mul_(data.draw(st.sampled_from([0.3, 1.0, 3.0])))
    log_priors = random_log_priors(2, count, seed, data.draw(st.sampled_from([0.0, 2.0, 20.0])))
    trie, paths = Trie.from_codes(codes), paths_in_order(codes)
    encoded = model.encode(*random_queries(2, seed, data.draw(st.sampled_from([4, 7]))))
    direct_per_beam = data.draw(st.sampled_from([1, _DIRECT_PER_BEAM, 4]))
    allowed, leaves = None, list(range(count))
    if data.draw(st.booleans()):
        documents = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
        allowed = trie.allow(np.array(documents))
        leaves = allowed.leaves.tolist()
    masses = make_masses(trie, log_priors, allowed)
    with patch("genir.decoding.full_softmax._DIRECT_PER_BEAM", direct_per_beam):
        results = [
            beam_search(model, trie, encoded, beams, k, allowed, exact, masses=masses) for exact in (False, True)
        ]
    barred = np.full_like(log_priors, -np.inf)
    barred[:, leaves] = log_priors[:, leaves]
    for b in range(2):
        known = prefix_logps(model, encoded, b, codes, barred[b].tolist())
        documents = {paths[leaf] for leaf in leaves}
        expected = plain_search(known.__getitem__, documents, beams, k, softmax_over == "trie")
        truth = sorted((-known[path], path) for path in documents)[:k]
        scores = [[x for x in result.scores[b].tolist() if x > -math.inf] for result in results]
        found = [[paths[leaf] for leaf in result.leaves[b].tolist() if leaf >= 0] for result in results]
        assert scores[0] == pytest.approx([known[path] for path in expected], abs=2e-4)
        assert scores[1] == pytest.approx([-negative for negative, _ in truth], abs=2e-4)
        for ranking, values in zip(found, scores, strict=True):
            assert len(set(ranking)) == len(ranking)
            assert values == pytest.approx([known[path] for path in ranking], abs=2e-4)
        assert results[1].exact[b]
        if results[0].exact[b]:
            assert scores[0] == pytest.approx(scores[1], abs=2e-4)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.booleans(), st.sampled_from(["trie", "full"]))
def test_scores_are_those_that_training_computes(seed, beams, text, softmax_over):
    if text:
        model, codes = make_text_model(4, seed=seed, softmax_over=softmax_over), random_text_docids(60, 4, seed)
    else:
        model, codes = make_model((4, 3, 4), softmax_over, seed=seed), random_codes(60, (4, 3, 4), seed)
    trie, encoded = Trie.from_codes(codes), model.encode(*random_queries(2, seed))
    masses = make_masses(trie, random_log_priors(2, 60, seed))
    result = beam_search(model, trie, encoded, beams, 5, masses=masses)
    with torch.no_grad():
        logps = document_logps(model, encoded, trie, result.leaves.clamp(min=0), masses)
    expected = logps.masked_fill(result.leaves < 0, -torch.inf)
    torch.testing.assert_close(result.scores, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8), st.booleans(), st.sampled_from(["trie", "full"]))
def test_no_document_that_was_pruned_scores_above_the_bound(seed, beams, k, text, softmax_over):
    """So the results above the bound are the true best, in their order; an exact search prunes nothing."""
    if text:
        model, codes = make_text_model(4, seed=seed, softmax_over=softmax_over), random_text_docids(60, 4, seed)
    else:
        model, codes = make_model((4, 3, 4), softmax_over, seed=seed), random_codes(60, (4, 3, 4), seed)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(2, 60, seed)
    encoded, masses = model.encode(*random_queries(2, seed)), make_masses(trie, log_priors)
    leaves, truth = (x.tolist() for x in brute_force(model, codes, encoded, log_priors))
    narrow, exact = (beam_search(model, trie, encoded, beams, k, exact=x, masses=masses) for x in (False, True))
    assert exact.bound.tolist() == [-math.inf] * 2
    for b in range(2):
        bound = narrow.bound[b].item()
        found, scores = narrow.leaves[b].tolist(), narrow.scores[b].tolist()
        missed = [score for leaf, score in zip(leaves[b], truth[b], strict=True) if leaf not in found]
        worst = scores[-1] if found[-1] >= 0 else -math.inf
        assert all(score <= max(bound, worst) + 1e-4 for score in missed)
        above = sum(score > bound for score in scores)
        assert scores[:above] == pytest.approx(truth[b][:above], abs=1e-4)
        assert bool(narrow.exact[b]) == (bound == -math.inf or bound < worst)


@BOTH
def test_wider_beams_prove_more_results_exact_and_others_can_be_wrong(softmax_over):
    model = make_model((5,) * 4, softmax_over)
    codes = random_codes(300, (5,) * 4, 4)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*random_queries(20))
    truth = brute_force(model, codes, encoded)[0][:, :5].tolist()
    fractions, wrong = [], 0
    for beams in (5, 20, 80, trie.size):
        result = beam_search(model, trie, encoded, beams, 5)
        fractions.append(result.exact.float().mean().item())
        for is_exact, found, expected in zip(result.exact.tolist(), result.leaves.tolist(), truth, strict=True):
            assert found == expected or not is_exact
            wrong += found != expected
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1 > fractions[0]
    assert wrong
    assert beam_search(model, trie, encoded, 1, 5, exact=True).leaves.tolist() == truth


@BOTH
def test_among_no_allowed_documents_nothing_is_found(softmax_over):
    model, trie = make_model((3, 3), softmax_over), Trie.from_codes(random_codes(9, (3, 3), 1))
    allowed = trie.allow(np.array([], np.int64))
    masses = make_masses(trie, random_log_priors(2, 9, 0), allowed)
    result = beam_search(model, trie, model.encode(*random_queries(2)), 4, 3, allowed, masses=masses)
    assert result.leaves.tolist() == [[-1] * 3] * 2
    assert result.exact.all()


@BOTH
def test_with_fewer_documents_than_beams_all_documents_are_found(softmax_over):
    model = make_model((3, 3), softmax_over)
    trie = Trie.from_codes(np.array([[0, 1], [2, 2]]))
    result = beam_search(model, trie, model.encode(*random_queries(2)), 50, 10)
    assert [sorted(leaves) for leaves in result.leaves.tolist()] == [[0, 1], [0, 1]]
    assert result.exact.all()


@BOTH
def test_a_query_gets_the_same_result_alone_as_in_a_batch(softmax_over):
    model = make_model((4, 4, 4), softmax_over)
    trie, log_priors = Trie.from_codes(random_codes(50, (4, 4, 4), 3)), random_log_priors(6, 50, 0)
    ids, mask = random_queries(6)
    masses = make_masses(trie, log_priors)
    together = beam_search(model, trie, model.encode(ids, mask), 8, 8, masses=masses)
    again = beam_search(model, trie, model.encode(ids, mask), 8, 8, masses=masses)
    assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))
    for b in range(6):
        length = int(mask[b].sum())
        encoded, masses = (
            model.encode(ids[b : b + 1, :length], mask[b : b + 1, :length]),
            make_masses(trie, log_priors[b : b + 1]),
        )
        alone = beam_search(model, trie, encoded, 8, 8, masses=masses)
        assert alone.leaves[0].tolist() == together.leaves[b].tolist()
        assert alone.exact[0] == together.exact[b]
        torch.testing.assert_close(alone.scores[0], together.scores[b], atol=1e-5, rtol=0)


@pytest.mark.slow
@BOTH
def test_earlier_and_concurrent_searches_do_not_change_a_result(softmax_over):
    model = make_model((4,) * 6, softmax_over)
    trie = Trie.from_codes(random_codes(300, (4,) * 6, 3))
    batches = [model.encode(*random_queries(3, seed)) for seed in range(24)]
    unused_models = [DocidModel(model.t5, model.layout, model.softmax_over) for _ in batches]
    alone = [beam_search(x, trie, batch, 20, 8).leaves for x, batch in zip(unused_models, batches, strict=True)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(lambda batch: beam_search(model, trie, batch, 20, 8).leaves, batches))
    finally:
        sys.setswitchinterval(interval)
    assert all(torch.equal(a, b) for a, b in zip(found, alone, strict=True))


@BOTH
def test_ties_go_to_the_smaller_docid_at_every_beam_size(softmax_over):
    """A head of zeros gives every docid the same score."""
    model = make_model((3, 3), softmax_over)
    model.t5.lm_head.weight.data.zero_()
    trie = Trie.from_codes(np.array([[a, b] for a in range(3) for b in range(3)]))
    encoded = model.encode(*random_queries(2))
    for beams in (1, 2, 3, 9):
        for exact in (False, True):
            result = beam_search(model, trie, Encoded(*encoded), beams, beams, exact=exact)
            assert result.leaves.tolist() == [list(range(beams))] * 2


@BOTH
def test_documents_that_share_a_docid_are_ordered_by_their_mass_and_then_as_in_the_collection(softmax_over):
    """A softmax over the vocabulary has no masses: there they have the same score."""
    model, trie = make_model((3, 3), softmax_over), Trie.from_codes(np.array([[1, 2]] * 5 + [[0, 0]]))
    encoded, log_priors = model.encode(*random_queries(1)), np.array([[0, 0, 2, 0, 1, 0]], np.float32)
    result = beam_search(model, trie, encoded, 6, 6, masses=make_masses(trie, log_priors))
    shared = [leaf for leaf in result.leaves[0].tolist() if leaf]
    assert shared == ([2, 4, 1, 3, 5] if softmax_over == "trie" else [1, 2, 3, 4, 5])
    assert_same_ranking(result, *brute_force(model, np.array([[1, 2]] * 5 + [[0, 0]]), encoded, log_priors))


@BOTH
def test_bfloat16_scores_are_those_of_float32_up_to_rounding(softmax_over):
    model = make_model((4, 4, 4), softmax_over)
    codes = random_codes(50, (4, 4, 4), 3)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(3, 50, 0)
    expected = brute_force(model, codes, model.encode(*random_queries(3)), log_priors)[1]
    model.t5.to(torch.bfloat16)
    encoded = model.encode(*random_queries(3))
    result = beam_search(model, trie, encoded, trie.size, trie.size, masses=make_masses(trie, log_priors))
    assert result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores, expected, atol=0.3, rtol=0.05)

"""Beam search against brute force over all docids, against Hugging Face, and against a plain search on random tries."""

import math
import sys
from concurrent.futures import ThreadPoolExecutor
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.benchmarks.hf_generate import generate, make_dict_trie
from genir.decoding.beam import _DIRECT_PER_BEAM, beam_search
from genir.decoding.trie import Trie
from genir.model import DocidModel, Encoded
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import (
    EOS,
    assert_same_ranking,
    brute_force,
    distinct,
    random_codes,
    random_queries,
    random_text_docids,
)


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
@pytest.mark.parametrize("sizes", [(9,), (4, 4), (3, 4, 2, 5)])
def test_a_search_with_as_many_beams_as_docids_equals_scoring_every_docid(sizes, softmax_over, v10):
    model = make_model(sizes, softmax_over, v10)
    codes = random_codes(25, sizes, 1)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*random_queries(5))
    result = beam_search(model, trie, encoded, trie.size, trie.size)
    assert_same_ranking(result, *brute_force(model, codes, encoded))
    assert result.exact.all()


@pytest.mark.parametrize("v10", [True, False])
def test_a_search_of_text_docids_of_unequal_lengths_equals_scoring_every_docid(v10):
    model = make_text_model(6, v10=v10)
    codes = random_text_docids(60, 6, 1)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*random_queries(3))
    leaves, scores = brute_force(model, codes, encoded)
    assert_same_ranking(beam_search(model, trie, encoded, trie.size, 10), leaves[:, :10], scores[:, :10])


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
@pytest.mark.parametrize(("levels", "beams"), [(1, 4), (3, 2), (3, 10), (12, 5)])
def test_a_search_with_few_beams_equals_generate_with_a_dict_trie(levels, beams, softmax_over, v10):
    """The same docids in the same order with the same scores."""
    model = make_model((6,) * levels, softmax_over, v10)
    codes = random_codes(60, (6,) * levels, 2)
    ids, mask = random_queries(4)
    k = min(4, beams)
    tokens, scores = generate(model, make_dict_trie(model.codes_to_tokens(distinct(codes))), ids, mask, beams, k)
    result = beam_search(model, Trie.from_codes(codes), model.encode(ids, mask), beams, k)
    assert model.codes_to_tokens(distinct(codes)[result.leaves]).tolist() == tokens.tolist()
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("beams", [2, 6])
def test_a_search_of_text_docids_with_few_beams_equals_generate(beams):
    model = make_text_model(6)
    codes = random_text_docids(200, 6, 2)
    ids, mask = random_queries(4)
    tokens, scores = generate(model, make_dict_trie(distinct(codes)), ids, mask, beams, 2)
    result = beam_search(model, Trie.from_codes(codes), model.encode(ids, mask), beams, 2)
    expected = distinct(codes)[result.leaves]
    expected = expected.masked_fill(expected < 0, EOS)  # as `generate` pads here
    assert expected[..., : tokens.shape[-1]].tolist() == tokens.tolist()
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)


def plain_search(logp, docids, beams, k):
    """The k best docids of a beam search over a set of docids; logp(prefix): the log-probability of a prefix."""
    live, finished = [()], []
    while live:
        candidates = sorted({docid[: len(live[0]) + 1] for docid in docids if docid[: len(live[0])] in live})
        ranked = sorted(candidates, key=lambda prefix: (-logp(prefix), prefix))
        finished += [prefix for prefix in ranked[:beams] if prefix in docids]
        live = [prefix for prefix in ranked if prefix not in docids][:beams]
    return sorted(finished, key=lambda docid: (-logp(docid), docid))[:k]


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_every_search_equals_a_plain_one_and_exact_results_are_the_true_best(data):
    """Random tries, models with flat or sharp distributions, filters and beam sizes; docids may be shared."""
    seed = data.draw(st.integers(0, 10**6))
    sharpness = data.draw(st.sampled_from([0.3, 1.0, 3.0]))
    count, levels = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    beams, k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    if data.draw(st.booleans()):
        model, codes = make_text_model(levels, seed=seed), random_text_docids(count, levels, seed)
    else:
        sizes = tuple(np.random.default_rng(seed).integers(1, 5, levels).tolist())
        model = make_model(sizes, data.draw(st.sampled_from(["level", "full"])), seed=seed)
        codes = random_codes(count, sizes, seed)
    model.t5.lm_head.weight.data.mul_(sharpness)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*random_queries(2, seed, data.draw(st.sampled_from([4, 7]))))
    direct_per_beam = data.draw(st.sampled_from([1, _DIRECT_PER_BEAM, 4]))
    allowed, docids = None, [tuple(x for x in row if x >= 0) for row in distinct(codes).tolist()]
    numbers = range(len(docids))
    if data.draw(st.booleans()):
        documents = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
        allowed = trie.allowed_docids(np.array(documents))
        numbers = allowed.leaves.tolist()
    with torch.no_grad():
        logps = model.code_logps(encoded, distinct(codes).expand(2, -1, -1))
    with patch("genir.decoding.beam._DIRECT_PER_BEAM", direct_per_beam):
        results = [beam_search(model, trie, encoded, beams, k, allowed, exact) for exact in (False, True)]
    for b in range(2):
        known = {x[:m]: logps[b, i, :m].sum().item() for i, x in enumerate(docids) for m in range(1, levels + 1)}
        expected = plain_search(known.__getitem__, {docids[i] for i in numbers}, beams, k)
        truth = sorted((-known[docids[i]], docids[i]) for i in numbers)[:k]
        scores = [[x for x in result.scores[b].tolist() if x > -math.inf] for result in results]
        found = [[docids[i] for i in result.leaves[b].tolist() if i >= 0] for result in results]
        assert scores[0] == pytest.approx([known[docid] for docid in expected], abs=1e-4)
        assert scores[1] == pytest.approx([-negative for negative, _ in truth], abs=1e-4)
        for ranking, values in zip(found, scores, strict=True):
            assert len(set(ranking)) == len(ranking)
            assert values == pytest.approx([known[docid] for docid in ranking], abs=1e-4)
        assert results[1].exact[b]
        if results[0].exact[b]:
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_no_docid_that_was_pruned_scores_above_the_bound(seed, beams, k, text):
    """So the results above the bound are the true best, in their order; an exact search prunes nothing."""
    if text:
        model, codes = make_text_model(4, seed=seed), random_text_docids(60, 4, seed)
    else:
        model, codes = make_model((4, 3, 4), seed=seed), random_codes(60, (4, 3, 4), seed)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*random_queries(2, seed))
    leaves, truth = (x.tolist() for x in brute_force(model, codes, encoded))
    narrow, exact = (beam_search(model, trie, encoded, beams, k, exact=exact) for exact in (False, True))
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


@pytest.mark.parametrize("softmax_over", ["level", "full"])
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


def test_with_fewer_docids_than_beams_all_docids_are_found():
    model = make_model((3, 3))
    trie = Trie.from_codes(np.array([[0, 1], [2, 2]]))
    result = beam_search(model, trie, model.encode(*random_queries(2)), 50, 10)
    assert [sorted(leaves) for leaves in result.leaves.tolist()] == [[0, 1], [0, 1]]
    assert result.exact.all()


def test_a_query_gets_the_same_result_alone_as_in_a_batch():
    model = make_model((4, 4, 4))
    trie = Trie.from_codes(random_codes(50, (4, 4, 4), 3))
    ids, mask = random_queries(6)
    together = beam_search(model, trie, model.encode(ids, mask), 8, 8)
    again = beam_search(model, trie, model.encode(ids, mask), 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))
    for b in range(6):
        length = int(mask[b].sum())
        alone = beam_search(model, trie, model.encode(ids[b : b + 1, :length], mask[b : b + 1, :length]), 8, 8)
        assert alone.leaves[0].tolist() == together.leaves[b].tolist()
        assert alone.exact[0] == together.exact[b]
        torch.testing.assert_close(alone.scores[0], together.scores[b], atol=1e-5, rtol=0)


@pytest.mark.slow
def test_earlier_and_concurrent_searches_do_not_change_a_result():
    model = make_model((4,) * 6)
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


def test_ties_go_to_the_smaller_docid_at_every_beam_size():
    """A head of zeros gives every docid the same score."""
    model = make_model((3, 3))
    with torch.no_grad():
        model.t5.lm_head.weight.zero_()
    trie = Trie.from_codes(random_codes(9, (3, 3), 5))
    encoded = model.encode(*random_queries(2))
    for beams in (1, 2, 3, 9):
        k = min(beams, trie.size)
        for exact in (False, True):
            result = beam_search(model, trie, Encoded(*encoded), beams, k, exact=exact)
            assert result.leaves.tolist() == [list(range(k))] * 2


def test_bfloat16_scores_are_those_of_float32_up_to_rounding():
    model = make_model((4, 4, 4))
    codes = random_codes(50, (4, 4, 4), 3)
    trie = Trie.from_codes(codes)
    expected = brute_force(model, codes, model.encode(*random_queries(3)))[1]
    model.t5.to(torch.bfloat16)
    result = beam_search(model, trie, model.encode(*random_queries(3)), trie.size, trie.size)
    assert result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores, expected, atol=0.3, rtol=0.05)

"""Beam search with the softmax over the children of trie nodes: what masses and codes without alternatives mean."""

import numpy as np
import torch

from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from tests.helpers.models import CountingModel, make_model
from tests.helpers.search import assert_same_ranking, brute_force, make_masses, random_codes, random_queries


def test_with_a_head_of_zeros_the_ranking_is_that_of_the_experts():
    model, codes = make_model((5, 5, 5)), random_codes(80, (5, 5, 5), 1)
    model.t5.lm_head.weight.data.zero_()
    trie, encoded = Trie.from_codes(codes), model.encode(*random_queries(2))
    log_priors = np.random.default_rng(0).uniform(0, 60, (2, 80)).astype(np.float32)
    result = beam_search(model, trie, encoded, 80, 80, masses=make_masses(trie, log_priors))
    assert result.leaves.tolist() == (-log_priors).argsort(1).tolist()
    expected = torch.from_numpy(log_priors).double().log_softmax(1).sort(descending=True).values.float()
    torch.testing.assert_close(result.scores, expected, atol=1e-4, rtol=1e-5)


def test_the_mass_below_a_beam_is_known_before_it_is_extended():
    """So a single beam finds a document with a large mass, wherever it is."""
    model, codes = make_model((6,) * 4), random_codes(500, (6,) * 4, 1)
    trie, encoded = Trie.from_codes(codes), model.encode(*random_queries(3))
    for leaf in (0, 123, 250, 499):
        log_priors = np.zeros((3, 500), np.float32)
        log_priors[:, leaf] = 200
        result = beam_search(model, trie, encoded, 1, 1, masses=make_masses(trie, log_priors))
        assert result.leaves.tolist() == [[leaf]] * 3
        assert result.exact.all()


def test_codes_without_alternatives_cost_no_probability_and_no_decoder_token():
    """The 16 docids differ in the first and last two of 24 codes, but the first two tell them apart."""
    sizes = (4, 4) + (1,) * 20 + (5, 5)
    codes = random_codes(16, sizes, 0)
    codes[:, :2] = [(a, b) for a in range(4) for b in range(4)]
    model, short = CountingModel.of(make_model(sizes)), make_model(sizes)
    trie = Trie.from_codes(codes)
    result = beam_search(model, trie, model.encode(*random_queries(3)), 16, 16)
    assert model.num_tokens == 3 * (1 + 4)  # the start token, and the four first codes
    expected = beam_search(short, Trie.from_codes(codes[:, :2]), short.encode(*random_queries(3)), 16, 16)
    assert_same_ranking(result, expected.leaves, expected.scores)
    model.num_tokens = 0
    result = beam_search(model, Trie.from_codes(codes[:1]), model.encode(*random_queries(3)), 16, 1)
    assert (result.leaves.tolist(), result.scores.tolist(), model.num_tokens) == ([[0]] * 3, [[0.0]] * 3, 0)


def test_codes_without_alternatives_in_the_middle_are_run_with_the_next_one_that_has_some():
    sizes = (4, *(1,) * 20, 3)
    codes = np.array([[a, *[0] * 20, c] for a in range(4) for c in range(3)])
    model = CountingModel.of(make_model(sizes))
    encoded = model.encode(*random_queries(2))
    result = beam_search(model, Trie.from_codes(codes), encoded, 12, 12)
    assert (model.num_passes, model.num_tokens) == (2, 2 * (1 + 4 * 21))
    assert_same_ranking(result, *brute_force(model, codes, encoded))

"""The softmax over the children of trie nodes against plain math, and what it leaves to the model."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.docids.trie import Trie
from genir.scoring.masses import Masses
from genir.scoring.softmax import child_logps, segment_log_softmax, segment_max
from tests.helpers.search import log_sum_exp

SEGMENTS = st.lists(st.lists(st.floats(-50, 50, width=32), min_size=1, max_size=5), min_size=1, max_size=6)
EQUAL = st.integers(1, 5).flatmap(
    lambda n: st.lists(st.lists(st.floats(-50, 50, width=32), min_size=n, max_size=n), min_size=1, max_size=6)
)


def flatten(segments):
    """The values of all segments [c], and the segment of each."""
    values = torch.tensor([x for segment in segments for x in segment])
    return values, torch.tensor([number for number, segment in enumerate(segments) for _ in segment])


@given(SEGMENTS | EQUAL)
def test_each_segment_is_normalised_by_itself(segments):
    values, segment = flatten(segments)
    values.requires_grad_()
    found = segment_log_softmax(values, segment, len(segments))
    expected = [x - log_sum_exp(values) for values in segments for x in values]
    assert found.tolist() == pytest.approx(expected, abs=1e-4)
    assert segment_max(values.detach(), segment, len(segments)).tolist() == [max(values) for values in segments]
    weight = torch.arange(len(values)).float()
    ours = torch.autograd.grad((found * weight).sum(), values)[0]
    separate = torch.cat([part.log_softmax(0) for part in values.split([len(x) for x in segments])])
    theirs = torch.autograd.grad((separate * weight).sum(), values)[0]
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_a_segment_whose_last_child_has_no_mass_is_normalised_over_the_others():
    values = torch.tensor([1.0, -math.inf, 2.0, 3.0])
    found = segment_log_softmax(values, torch.tensor([0, 0, 1, 1]), 2)
    assert found.tolist() == pytest.approx([0, -math.inf, -log_sum_exp([0, 1]), -log_sum_exp([0, -1])])


CODES = np.array([[0, -1, -1], [1, 0, -1], [1, 0, -1], [1, 1, 0], [1, 1, 2], [2, 5, -1], [2, 7, -1]])
"""Sorted docids: [1, 0] is shared, so its documents are told apart at level 2, at which [1, 1] has children as well."""


def test_children_have_their_mass_and_the_logit_of_the_model():
    trie, asked = Trie.from_codes(CODES), []
    masses = Masses(trie, 2, torch.tensor([1, 7 + 6]), torch.tensor([0.7, 2.0]))
    query, first, last = torch.tensor([[0, 1, 3], [0, 5, 7], [1, 5, 7]]).T
    children = trie.expand(1, first, last)

    def score(parent, code):
        asked.extend(zip(parent.tolist(), code.tolist(), strict=True))
        return parent * 0.5 + code * 0.25

    # The first node is [1, 0], with one code of [1] left to choose from.
    found = child_logps(masses, 1, query, first, last, children, score).tolist()
    expected = [0.0]
    for node, log_masses in ((1, (0, 0)), (2, (0, 2.0))):
        terms = [node * 0.5 + code * 0.25 + log_mass for code, log_mass in zip((5, 7), log_masses, strict=True)]
        expected += [term - log_sum_exp(terms) for term in terms]
    assert found == pytest.approx(expected, abs=1e-6)
    assert asked == [(0, 0), (1, 5), (1, 7), (2, 5), (2, 7)]


@pytest.mark.parametrize("with_others", [True, False])
def test_documents_that_share_a_docid_are_told_apart_by_their_mass_alone(with_others):
    """The model is asked only for the codes of docids that go on, and not at all if there are none."""
    trie, asked = Trie.from_codes(CODES), []
    masses = Masses(trie, 1, torch.tensor([1, 2]), torch.tensor([0.0, 1.5]))
    query, first, last = torch.tensor([[0, 1, 3], [0, 3, 5]][: 1 + with_others]).T
    children = trie.expand(2, first, last)

    def score(parent, code):
        asked.extend(zip(parent.tolist(), code.tolist(), strict=True))
        return code * 0.25

    found = child_logps(masses, 2, query, first, last, children, score).tolist()
    shared = [x - log_sum_exp([0, 1.5]) for x in (0, 1.5)]
    others = [x - log_sum_exp([0, 0.5]) for x in (0, 0.5)] if with_others else []
    assert found == pytest.approx(shared + others, abs=1e-6)
    assert asked == ([(1, 0), (1, 2)] if with_others else [])


@settings(deadline=None)
@given(st.floats(0, 80), st.integers(0, 10**6))
def test_probabilities_of_children_sum_to_one_however_large_their_masses_are(largest, seed):
    rng = np.random.default_rng(seed)
    trie = Trie.from_codes(np.arange(12)[:, None])
    masses = Masses(trie, 1, torch.arange(12), torch.from_numpy(rng.uniform(0, largest, 12)))
    query, first, last = torch.tensor([[0, 0, 12]]).T
    logits = torch.from_numpy(rng.normal(size=12)).float()
    found = child_logps(masses, 0, query, first, last, trie.expand(0, first, last), lambda parent, code: logits[code])
    assert found.exp().sum().item() == pytest.approx(1, abs=1e-5)

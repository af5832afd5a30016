"""Log-probabilities of documents: their definition in plain math, what follows from it, and their gradients."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.docids.trie import Trie
from genir.scoring.logps import document_logps
from tests.helpers.models import CountingModel, make_model, make_text_model
from tests.helpers.search import (
    docids_in_order,
    hugging_face_logits,
    make_masses,
    plain_logps,
    random_codes,
    random_log_priors,
    random_queries,
    random_text_docids,
)


def score_all(model, codes, encoded, log_priors=None, **kwargs):
    """log p [B, N] of all documents in docid order, without gradients."""
    trie = Trie.from_codes(codes)
    masses = None if log_priors is None else make_masses(trie, log_priors)
    leaves = torch.arange(trie.size).expand(len(encoded.states), -1)
    with torch.no_grad():
        return document_logps(model, encoded, trie, leaves, masses, **kwargs)


@st.composite
def cases(draw):
    """A random model and docids: of one length, or of unequal lengths; some may be shared."""
    seed, count, levels = draw(st.integers(0, 10**6)), draw(st.integers(1, 40)), draw(st.integers(1, 5))
    v10 = draw(st.booleans())
    if draw(st.booleans()):
        return make_text_model(levels, seed=seed, v10=v10), random_text_docids(count, levels, seed), seed
    sizes = tuple(np.random.default_rng(seed).integers(1, 5, levels).tolist())
    return make_model(sizes, seed=seed, v10=v10), random_codes(count, sizes, seed), seed


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(cases(), st.sampled_from([0.0, 1.0, 10.0]))
def test_log_probabilities_are_those_of_the_definition_and_sum_to_one(case, scale):
    model, codes, seed = case
    encoded = model.encode(*random_queries(2, seed))
    log_priors = random_log_priors(2, len(codes), seed, scale)
    logps = score_all(model, codes, encoded, log_priors)
    torch.testing.assert_close(logps, plain_logps(model, codes, encoded, log_priors), atol=2e-4, rtol=1e-5)
    assert logps.exp().sum(1).tolist() == pytest.approx([1, 1], abs=1e-4)
    if not scale:
        torch.testing.assert_close(score_all(model, codes, encoded), logps)


@settings(max_examples=30, deadline=None)
@given(cases(), st.sampled_from([0.0, 3.0, 20.0]))
def test_with_a_head_of_zeros_a_document_has_its_share_of_the_prior_mass(case, scale):
    """So the ranking is the experts' own, and without experts all documents are equally likely."""
    model, codes, seed = case
    model.t5.lm_head.weight.data.zero_()
    log_priors = random_log_priors(2, len(codes), seed, scale)
    logps = score_all(model, codes, model.encode(*random_queries(2, seed)), log_priors)
    expected = torch.from_numpy(log_priors).double().log_softmax(1).float()
    torch.testing.assert_close(logps, expected, atol=1e-4, rtol=1e-5)


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(cases(), st.data())
def test_allowed_documents_have_the_probabilities_of_a_collection_of_only_these(case, data):
    model, codes, seed = case
    chosen = data.draw(st.lists(st.integers(0, len(codes) - 1), min_size=1, unique=True))
    encoded, log_priors = model.encode(*random_queries(2, seed)), random_log_priors(2, len(codes), seed)
    trie = Trie.from_codes(codes)
    allowed = trie.allow(np.array(chosen))
    leaves = allowed.leaves.expand(2, -1)
    with torch.no_grad():
        found = document_logps(model, encoded, trie, leaves, make_masses(trie, log_priors, allowed))
    barred = np.full_like(log_priors, -np.inf)
    barred[:, allowed.leaves] = log_priors[:, allowed.leaves]
    expected = plain_logps(model, codes, encoded, barred).gather(1, leaves)
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-5)
    alone = score_all(model, codes[np.sort(chosen)], encoded, log_priors[:, allowed.leaves])
    torch.testing.assert_close(found, alone, atol=2e-4, rtol=1e-5)


def test_codes_without_alternatives_cost_no_probability_and_no_decoder_token():
    """All docids differ in their first two codes, so the 22 others are not run; nor is a single document."""
    sizes = (4, 4) + (1,) * 20 + (5, 5)
    codes = random_codes(16, sizes, 0)
    codes[:, :2] = [(a, b) for a in range(4) for b in range(4)]
    model = CountingModel.of(make_model(sizes))
    encoded = model.encode(*random_queries(3))
    logps = score_all(model, codes, encoded)
    assert model.num_tokens == 3 * 16 * 2  # the start token and the first code of each candidate
    short = make_model(sizes)
    torch.testing.assert_close(logps, score_all(short, codes[:, :2], short.encode(*random_queries(3))))
    model.num_tokens = 0
    assert score_all(model, codes[:1], encoded).tolist() == [[0.0]] * 3
    assert model.num_tokens == 0


def test_documents_that_share_their_docid_need_no_model():
    model = CountingModel.of(make_model((3, 3)))
    encoded, log_priors = model.encode(*random_queries(1)), np.array([[0.0, 2.0, 1.0]], np.float32)
    logps = score_all(model, np.array([[1, 2]] * 3), encoded, log_priors)
    assert logps[0].exp().tolist() == pytest.approx([math.exp(x) / (1 + math.e + math.e**2) for x in (0, 2, 1)])
    assert model.num_tokens == 0


def test_docids_that_branch_only_at_the_first_code_need_one_decoder_token_per_query():
    model = CountingModel.of(make_model((9, 2)))
    encoded = model.encode(*random_queries(3))
    score_all(model, np.array([[i, i % 2] for i in range(9)]), encoded)
    assert model.num_tokens == 3


@pytest.mark.slow
@pytest.mark.parametrize("softmax_over", ["trie", "full"])
@pytest.mark.parametrize("text", [True, False])
def test_candidate_chunks_give_the_same_log_probabilities_and_gradients(softmax_over, text):
    sizes = (4, 3, 5)
    model = make_text_model(4, softmax_over=softmax_over) if text else make_model(sizes, softmax_over)
    codes = random_text_docids(40, 4, 1) if text else random_codes(40, sizes, 1)
    trie, results = Trie.from_codes(codes), []
    leaves = torch.stack([torch.randperm(40, generator=torch.Generator().manual_seed(x))[:7] for x in range(3)])
    masses = make_masses(trie, random_log_priors(3, 40, 2))
    weight = torch.randn(3, 7, generator=torch.Generator().manual_seed(1))
    for candidate_chunk in (None, 1, 3):
        model.t5.zero_grad()
        logps = document_logps(model, model.encode(*random_queries(3)), trie, leaves, masses, candidate_chunk)
        (weight * logps.exp()).sum().backward()
        results.append((logps.detach(), [p.grad.clone() for p in model.t5.parameters() if p.grad is not None]))
    for logps, gradients in results[1:]:
        torch.testing.assert_close(logps, results[0][0])
        torch.testing.assert_close(gradients, results[0][1])


def plain_loss(model, codes, encoded, log_priors, weight):
    """The weighted sum of log p over all documents, as a formula over Hugging Face's logits that autograd follows."""
    docids, total = docids_in_order(codes), torch.zeros(())
    for query in range(len(encoded.states)):
        logits, masses = hugging_face_logits(model, encoded, query, docids), log_priors[query].exp()
        for docid, factor in zip(docids, weight[query], strict=True):
            for length in range(len(docid)):
                below = {}
                for number, other in enumerate(docids):
                    if other[:length] == docid[:length]:
                        below.setdefault(other[length], []).append(number)
                start = model.layout.base + model.layout.offsets[length]
                terms = {c: logits[docid[:length]][start + c] + masses[x].sum().log() for c, x in below.items()}
                total = total + factor * (terms[docid[length]] - torch.stack(list(terms.values())).logsumexp(0))
    return total


@pytest.mark.slow
@pytest.mark.parametrize("text", [True, False])
def test_gradients_are_those_of_the_definition(text):
    model = make_text_model(3) if text else make_model((3, 4, 2))
    codes = np.unique(random_text_docids(12, 3, 1) if text else random_codes(12, (3, 4, 2), 1), axis=0)
    trie, log_priors = Trie.from_codes(codes), random_log_priors(2, len(codes), 2)
    weight = torch.randn(2, len(codes), generator=torch.Generator().manual_seed(1))
    leaves = torch.arange(len(codes)).expand(2, -1)
    gradients = []
    for ours in (True, False):
        model.t5.zero_grad()
        encoded = model.encode(*random_queries(2))
        if ours:
            logps = document_logps(model, encoded, trie, leaves, make_masses(trie, log_priors))
            loss = (weight * logps).sum()
        else:
            loss = plain_loss(model, codes, encoded, torch.from_numpy(log_priors), weight)
        loss.backward()
        gradients.append([torch.zeros_like(p) if p.grad is None else p.grad.clone() for p in model.t5.parameters()])
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("text", [True, False])
def test_a_softmax_over_the_vocabulary_uses_no_masses(text):
    model = make_text_model(4, softmax_over="full") if text else make_model((3, 4, 2), "full")
    codes = random_text_docids(20, 4, 1) if text else random_codes(20, (3, 4, 2), 1)
    encoded = model.encode(*random_queries(2))
    logps = score_all(model, codes, encoded, random_log_priors(2, 20, 0))
    torch.testing.assert_close(logps, plain_logps(model, codes, encoded), atol=1e-4, rtol=1e-5)


def test_candidates_are_scored_alone_as_beside_others():
    model, codes = make_model((3, 4, 2, 3)), random_codes(30, (3, 4, 2, 3), 1)
    trie, encoded = Trie.from_codes(codes), model.encode(*random_queries(3))
    log_priors = random_log_priors(3, 30, 2)
    together = score_all(model, codes, encoded, log_priors)
    with torch.no_grad():
        alone = [
            document_logps(model, encoded, trie, torch.full((3, 1), leaf), make_masses(trie, log_priors))
            for leaf in range(30)
        ]
    torch.testing.assert_close(torch.cat(alone, 1), together, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("softmax_over", ["trie", "full"])
def test_scoring_many_documents_can_be_stopped_at_every_check_and_checks_change_nothing(softmax_over):
    codes = random_codes(150, (5, 7, 4), 1)
    trie, model = Trie.from_codes(codes), CountingModel.of(make_model((5, 7, 4), softmax_over))
    leaves = torch.arange(trie.size).unsqueeze(0)
    passes_at_checks = []

    def stop_at(number):
        passes_at_checks.append(model.num_passes)
        if len(passes_at_checks) == number:
            raise TimeoutError

    with torch.no_grad():
        encoded = model.encode(*random_queries(1))
        expected = document_logps(model, encoded, trie, leaves)
        found = document_logps(model, encoded, trie, leaves, check=lambda: stop_at(0))
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
        count = len(passes_at_checks)
        assert max(later - before for before, later in pairwise(passes_at_checks)) <= 1
        for number in range(1, count + 1):
            passes_at_checks.clear()
            with pytest.raises(TimeoutError):
                document_logps(model, encoded, trie, leaves, check=lambda number=number: stop_at(number))
            assert len(passes_at_checks) == number
    assert count >= 3

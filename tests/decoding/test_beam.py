"""Decoding against brute force over all docids, against Hugging Face, and against a plain beam search on random tries
and models.
"""

import math
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LogitsProcessor, LogitsProcessorList, PrefixConstrainedLogitsProcessor

from genir.decoding.beam import _DIRECT_PER_BEAM, beam_search
from genir.decoding.trie import Trie
from genir.model import Encoded
from tests.helpers.models import make_model
from tests.helpers.search import EOS, assert_same, brute_force, distinct, queries, random_codes, text_codes, text_model


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
@pytest.mark.parametrize("sizes", [(9,), (4, 4), (3, 4, 2, 5)])
def test_with_as_many_beams_as_docids_it_equals_scoring_every_docid(make_model, sizes, softmax_over, v10):
    model = make_model(sizes, softmax_over, v10)
    codes = random_codes(25, sizes, 1)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(5))
    result = beam_search(model, trie, encoded, trie.size, trie.size)
    assert_same(result, *brute_force(model, codes, encoded))
    assert result.exact.all()


@pytest.mark.parametrize("v10", [True, False])
def test_text_docids_of_unequal_length_equal_scoring_every_docid(make_model, v10):
    model = text_model(make_model, 6, v10=v10)
    codes = text_codes(60, 6, 1)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(3))
    leaves, scores = brute_force(model, codes, encoded)
    assert_same(beam_search(model, trie, encoded, trie.size, 10), leaves[:, :10], scores[:, :10])


class LevelSoftmax(LogitsProcessor):
    """Normalises each step over its level's codebook, as a user of `generate` has to."""

    def __init__(self, layout):
        self.layout = layout

    def __call__(self, input_ids, scores):
        level = input_ids.shape[1] - 1
        start = self.layout.base + self.layout.offsets[level]
        codes = slice(start, start + self.layout.sizes[level])
        scores[:, codes] = scores[:, codes].log_softmax(-1)
        return scores


def generate(model, codes, ids, mask, beams, k):
    """Hugging Face's beam search over a dict trie: tokens of k docids a query, and their scores."""
    root = {}
    for docid in model.codes_to_tokens(distinct(codes)).masked_fill(distinct(codes) < 0, -1).tolist():
        node = root
        for token in docid:
            node = node.setdefault(token, {}) if token >= 0 else node

    def allowed(batch, written):
        node = root
        for token in written.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [0]

    processors = [PrefixConstrainedLogitsProcessor(allowed, beams)]
    if model.softmax_over == "level":
        processors.insert(0, LevelSoftmax(model.layout))
    output = model.t5.generate(
        input_ids=ids, attention_mask=mask, num_beams=beams, num_return_sequences=k, max_new_tokens=codes.shape[1],
        length_penalty=0.0, logits_processor=LogitsProcessorList(processors), return_dict_in_generate=True,
        output_scores=True, do_sample=False, eos_token_id=EOS if model.layout.text else None, pad_token_id=0,
    )  # fmt: skip
    return output.sequences[:, 1:], output.sequences_scores.view(len(ids), k)


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("softmax_over", ["level", "full"])
@pytest.mark.parametrize(("levels", "beams"), [(1, 4), (3, 2), (3, 10), (12, 5)])
def test_it_equals_hugging_face_generate_with_a_dict_trie(make_model, levels, beams, softmax_over, v10):
    """Same docids in the same order and the same scores, with fewer beams than docids."""
    model = make_model((6,) * levels, softmax_over, v10)
    codes = random_codes(60, (6,) * levels, 2)
    ids, mask = queries(4)
    k = min(4, beams)
    tokens, scores = generate(model, codes, ids, mask, beams, k)
    result = beam_search(model, Trie.from_codes(codes), model.encode(ids, mask), beams, k)
    assert model.codes_to_tokens(distinct(codes)[result.leaves.flatten()]).tolist() == tokens.tolist()
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)


@pytest.mark.parametrize("beams", [2, 6])
def test_it_equals_generate_on_text_docids_that_end_at_any_time(make_model, beams):
    model = text_model(make_model, 6)
    codes = text_codes(200, 6, 2)
    ids, mask = queries(4)
    tokens, scores = generate(model, codes, ids, mask, beams, 2)
    result = beam_search(model, Trie.from_codes(codes), model.encode(ids, mask), beams, 2)
    wanted = distinct(codes)[result.leaves.flatten()]
    assert wanted.masked_fill(wanted < 0, EOS)[:, : tokens.shape[1]].tolist() == tokens.tolist()  # as it pads
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)


def plain_search(logp, docids, beams, k):
    """Beam search over a set of docids with prefixes as tuples; logp(prefix): of a prefix's codes, summed."""
    live, finished = [()], []
    while live:
        grown = sorted({docid[: len(live[0]) + 1] for docid in docids if docid[: len(live[0])] in live})
        ranked = sorted(grown, key=lambda prefix: (-logp(prefix), prefix))
        finished += [prefix for prefix in ranked[:beams] if prefix in docids]
        live = [prefix for prefix in ranked if prefix not in docids][:beams]
    return sorted(finished, key=lambda docid: (-logp(docid), docid))[:k]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_every_search_equals_a_plain_one_and_its_certificate_is_true(data):
    """Random tries, docids shared or not, of one length or not, models sharp or flat, filters, widths."""
    seed = data.draw(st.integers(0, 10**6))
    sharpness = data.draw(st.sampled_from([0.3, 1.0, 3.0]))
    count, levels = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 5))
    beams, k = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 8))
    make = make_model
    if data.draw(st.booleans()):
        model, codes = text_model(make, levels, seed=seed), text_codes(count, levels, seed)
    else:
        sizes = tuple(np.random.default_rng(seed).integers(1, 5, levels).tolist())
        model, codes = (
            make(sizes, data.draw(st.sampled_from(["level", "full"])), seed=seed),
            random_codes(count, sizes, seed),
        )
    model.t5.lm_head.weight.data.mul_(sharpness)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(2, seed, data.draw(st.sampled_from([4, 7]))))
    crowd = data.draw(st.sampled_from([1, _DIRECT_PER_BEAM, 4]))  # how many are set aside and looked through afterwards
    allowed, docids = None, [tuple(x for x in row if x >= 0) for row in distinct(codes).tolist()]
    some = range(len(docids))
    if data.draw(st.booleans()):
        rows = data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=count, unique=True))
        allowed = trie.restrict_to(np.array(rows))
        some = allowed.leaves.tolist()
    with torch.no_grad():
        each = model.code_logps(encoded, distinct(codes).expand(2, -1, -1))
    with patch("genir.decoding.beam._DIRECT_PER_BEAM", crowd):
        results = [beam_search(model, trie, encoded, beams, k, allowed, exact) for exact in (False, True)]
    for b in range(2):
        known = {docid[:m]: each[b, i, :m].sum().item() for i, docid in enumerate(docids) for m in range(1, levels + 1)}
        wanted = plain_search(known.__getitem__, {docids[i] for i in some}, beams, k)
        truth = sorted((-known[docids[i]], docids[i]) for i in some)[:k]
        scores = [[x for x in result.scores[b].tolist() if x > -math.inf] for result in results]
        found = [[docids[i] for i in result.leaves[b].tolist() if i >= 0] for result in results]
        assert scores[0] == pytest.approx([known[docid] for docid in wanted], abs=1e-4)
        assert scores[1] == pytest.approx([-negative for negative, _ in truth], abs=1e-4)
        for row, values in zip(found, scores, strict=True):
            assert len(set(row)) == len(row)
            assert values == pytest.approx([known[docid] for docid in row], abs=1e-4)
        assert results[1].exact[b]
        if results[0].exact[b]:
            assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize("softmax_over", ["level", "full"])
def test_wider_beams_certify_more_and_what_is_not_certified_can_be_wrong(make_model, softmax_over):
    model = make_model((5,) * 4, softmax_over)
    codes = random_codes(300, (5,) * 4, 4)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(20))
    truth = brute_force(model, codes, encoded)[0][:, :5].tolist()
    shares, wrong = [], 0
    for beams in (5, 20, 80, trie.size):
        result = beam_search(model, trie, encoded, beams, 5)
        shares.append(result.exact.float().mean().item())
        for proven, got, wanted in zip(result.exact.tolist(), result.leaves.tolist(), truth, strict=True):
            assert got == wanted or not proven
            wrong += got != wanted
    assert shares == sorted(shares)
    assert shares[-1] == 1 > shares[0]
    assert wrong
    assert beam_search(model, trie, encoded, 1, 5, exact=True).leaves.tolist() == truth


def test_fewer_docids_than_beams_gives_all_docids(make_model):
    model = make_model((3, 3))
    trie = Trie.from_codes(np.array([[0, 1], [2, 2]]))
    result = beam_search(model, trie, model.encode(*queries(2)), 50, 10)
    assert [sorted(row) for row in result.leaves.tolist()] == [[0, 1], [0, 1]]
    assert result.exact.all()


def test_batches_and_order_of_queries_change_nothing(make_model):
    model = make_model((4, 4, 4))
    trie = Trie.from_codes(random_codes(50, (4, 4, 4), 3))
    ids, mask = queries(6)
    together = beam_search(model, trie, model.encode(ids, mask), 8, 8)
    again = beam_search(model, trie, model.encode(ids, mask), 8, 8)
    assert all(torch.equal(a, b) for a, b in zip(together, again, strict=True))
    for b in range(6):
        length = int(mask[b].sum())
        alone = beam_search(model, trie, model.encode(ids[b : b + 1, :length], mask[b : b + 1, :length]), 8, 8)
        assert alone.leaves[0].tolist() == together.leaves[b].tolist()
        assert alone.exact[0] == together.exact[b]
        torch.testing.assert_close(alone.scores[0], together.scores[b], atol=1e-5, rtol=0)


def test_ties_go_to_the_smaller_docid_at_every_width(make_model):
    """A model that cannot tell codes apart gives every docid the same score."""
    model = make_model((3, 3))
    with torch.no_grad():
        model.t5.lm_head.weight.zero_()
    trie = Trie.from_codes(random_codes(9, (3, 3), 5))
    encoded = model.encode(*queries(2))
    for beams in (1, 2, 3, 9):
        kept = min(beams, trie.size)
        for exact in (False, True):
            result = beam_search(model, trie, Encoded(*encoded), beams, kept, exact=exact)
            assert result.leaves.tolist() == [list(range(kept))] * 2


def test_bfloat16_scores_are_those_of_float32_up_to_its_rounding(make_model):
    model = make_model((4, 4, 4))
    codes = random_codes(50, (4, 4, 4), 3)
    trie = Trie.from_codes(codes)
    wanted = brute_force(model, codes, model.encode(*queries(3)))[1]
    model.t5.to(torch.bfloat16)
    result = beam_search(model, trie, model.encode(*queries(3)), trie.size, trie.size)
    assert result.scores.dtype == torch.float32
    torch.testing.assert_close(result.scores, wanted, atol=0.3, rtol=0.05)

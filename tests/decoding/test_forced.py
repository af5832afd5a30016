"""Forced tails save work without changing results; simulated pruning equals that of a plain beam search."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.decoding.beam import beam_search
from genir.decoding.deadline import Deadline
from genir.decoding.forced import Completions, ForcedTails, running_sums, score_tails, simulate_beam
from genir.decoding.topk import TopK
from genir.docids.trie import Trie
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout
from tests.helpers.models import CountingModel, make_model
from tests.helpers.search import random_codes

CPU = torch.device("cpu")


def counting_model(sizes):
    return CountingModel.of(make_model(sizes, "full"))


@torch.no_grad()
def make_codes_certain(model, levels):
    """Give the only code of each of some levels a probability of nearly 1 after every code of the level before it."""
    tokens = [slice(start, start + size) for start, size in zip(model.layout.offsets, model.layout.sizes, strict=True)]
    embeddings, head = (weight[model.layout.base :] for weight in (model.t5.shared.weight, model.t5.lm_head.weight))
    for level in levels:
        embeddings[tokens[level - 1]] = 50 * torch.eye(embeddings.shape[1])[level]
        head[tokens[level]] = 10 * torch.eye(embeddings.shape[1])[level]


def encode(model, count=2):
    ids = torch.randint(3, 20, (count, 6), generator=torch.Generator().manual_seed(1))
    return model.encode(ids, torch.ones_like(ids))


def test_long_docids_take_few_passes_once_each_is_the_only_one_below_its_prefix():
    """200 random docids of 24 codes are unique after about three of them: at most 8 passes, not 24."""
    model = counting_model((16,) * 24)
    beam_search(model, Trie.from_codes(random_codes(200, (16,) * 24, 0)), encode(model), 10, 10)
    assert model.num_passes <= 8


@pytest.mark.parametrize("queries", [1, 3])
def test_tails_that_cannot_be_among_the_best_are_not_run(queries):
    """The best 2 docids of 100 beams are those of the best 100, but take less than half of the tokens."""
    model = CountingModel.of(make_model((16,) * 3 + (1,) * 21, "full", width=32))
    make_codes_certain(model, range(3, 24))
    codes = np.unique(random_codes(2000, (16,) * 3, 0), axis=0)
    trie = Trie.from_codes(np.pad(codes, ((0, 0), (0, 21))))
    all_found = beam_search(model, trie, encode(model, queries), 100, 100)
    tokens_for_all, model.num_tokens = model.num_tokens, 0
    few_found = beam_search(model, trie, encode(model, queries), 100, 2)
    assert few_found.leaves.tolist() == all_found.leaves[:, :2].tolist()
    torch.testing.assert_close(few_found.scores, all_found.scores[:, :2], atol=1e-5, rtol=1e-6)
    assert model.num_tokens < 0.5 * tokens_for_all


def test_two_docids_that_differ_only_in_their_last_code_do_not_delay_the_others():
    """There is one docid more than beams for 20 levels, but these levels do not take a pass each."""
    model = counting_model((16,) * 3 + (1,) * 20 + (2,))
    codes = np.pad(np.unique(random_codes(40, (16,) * 3, 0), axis=0)[:30], ((0, 0), (0, 21)))
    twin = codes[:1] + np.eye(24, dtype=int)[-1]
    trie = Trie.from_codes(np.concatenate([codes, twin]))
    encoded = encode(model)
    expected = beam_search(model, trie, encoded, 30, 30)
    assert model.num_passes < 10
    model.num_passes = 0
    found = beam_search(model, trie, encoded, 30, 3)
    assert found.leaves.tolist() == expected.leaves[:, :3].tolist()
    torch.testing.assert_close(found.scores, expected.scores[:, :3], atol=1e-5, rtol=0)
    assert model.num_passes < 10


@pytest.mark.parametrize("k", [1, 3, 30])
def test_tails_that_start_at_any_level_get_the_scores_of_whole_docids(k):
    """Completions of which 0, 2 or 4 of 5 codes are scored already; the k best of them are found."""
    model = make_model((6,) * 5, "full")
    trie = Trie.from_codes(random_codes(20, (6,) * 5, 6))
    encoded = encode(model, 2)
    with torch.no_grad():
        logps = model.code_logps(encoded, trie.generated_codes(torch.arange(trie.size)).expand(2, -1, -1))
        cross_cache, kv_cache = model.precompute_cross_attention(encoded), KVCache(model.t5)
        pending = []
        for done in (0, 2, 4):
            leaf = torch.arange(done, trie.size, 5)
            query = torch.arange(2).repeat_interleave(len(leaf))
            leaf = leaf.repeat(2)
            slots = torch.empty(len(leaf), 0).long()
            if done:
                layout = RaggedLayout.from_lengths([len(leaf) // 2] * 2, CPU)
                inputs = model.decoder_inputs(trie.codes[leaf, : done - 1].long())
                slots = model.extend(cross_cache, layout, kv_cache, inputs, slots)[1]
            pending.append(Completions(query, leaf, logps[query, leaf, :done].sum(1), slots))
        tails, top = ForcedTails(trie, pending), TopK(2, k, trie.size, CPU)
        top, lost = score_tails(model, cross_cache, kv_cache, tails, top, None, Deadline())
    assert lost.tolist() == [-torch.inf] * 2  # without a beam size nothing is pruned
    leaves = torch.cat([x.leaf[: len(x.leaf) // 2] for x in pending]).unique()
    for query in range(2):
        scores = logps[query, leaves].sum(1)
        order = scores.sort(descending=True, stable=True).indices[:k]
        count = len(order)
        assert top.leaves[query, :count].tolist() == leaves[order].tolist()
        torch.testing.assert_close(top.scores[query, :count], scores[order], atol=1e-5, rtol=1e-6)


@given(st.lists(st.floats(-10, 0, width=32), min_size=1, max_size=6), st.floats(-10, 0, width=32))
def test_running_sums_are_rounded_as_in_a_level_by_level_search(logps, start):
    total, expected = torch.tensor(start), []
    for logp in logps:
        total = total + torch.tensor(logp)
        expected.append(total.item())
    assert running_sums(torch.tensor([start]), torch.tensor([logps]))[0].tolist() == expected


def plain_beam_search(docids, logp, start, beams):
    """The docids (tuples) that a plain beam search finishes, if it begins with all their prefixes of `start` codes."""
    live, finished = {docid[:start] for docid in docids}, set()
    while live:
        level = len(next(iter(live))) + 1
        candidates = {docid[:level] for docid in docids if docid[: level - 1] in live and len(docid) >= level}
        ranked = sorted(candidates, key=lambda prefix: (-logp[prefix], prefix))
        finished |= {prefix for prefix in ranked[:beams] if prefix in docids}
        live = set([prefix for prefix in ranked if prefix not in docids][:beams])
    return finished


@st.composite
def prefix_free_docids(draw):
    """Docids of unequal lengths; a code of 0 ends one."""
    longest = draw(st.integers(2, 5))
    drawn = draw(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=longest - 1), min_size=1, max_size=25))
    return sorted({(*docid, 0) for docid in drawn})


@pytest.mark.slow
@settings(deadline=None, max_examples=200)
@given(st.lists(prefix_free_docids(), min_size=1, max_size=3), st.integers(1, 6), st.integers(0, 1), st.data())
def test_simulated_pruning_keeps_what_a_plain_beam_search_finishes(queries, beams, start, data):
    """The score of a prefix may be given for all docids that share it, or for the last of them only."""
    width = max(len(docid) for docids in queries for docid in docids)
    rows, expected = [], []
    for number, docids in enumerate(queries):
        prefixes = sorted({docid[:m] for docid in docids for m in range(1, len(docid) + 1)}, key=len)
        logp = {(): 0.0}
        for prefix in prefixes:
            logp[prefix] = logp[prefix[:-1]] - data.draw(st.integers(0, 3))  # integers, so that some are equal
        given_once = data.draw(st.booleans())
        for docid, following in zip(docids, [*docids[1:], ()], strict=True):
            padding = width - len(docid)
            scores = [logp[docid[:m]] for m in range(1, len(docid) + 1)]
            shared = next(m for m in range(len(docid)) if docid[: m + 1] != following[: m + 1]) if given_once else 0
            scores[:shared] = [-torch.inf] * shared
            rows.append((number, [*docid, *[-1] * padding], [*scores, *[-torch.inf] * padding]))
        finished = plain_beam_search(set(docids), logp, start, beams)
        expected += [docid in finished for docid in docids]
    query, codes, scores = (torch.tensor(x) for x in zip(*rows, strict=True))
    assert simulate_beam(query, codes, torch.full_like(query, start), scores, beams).tolist() == expected

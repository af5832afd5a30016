"""Forced tails and bounds leave out work, and nothing of the result."""

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.forced import Completions, ForcedTails, score_tails
from genir.decoding.topk import TopK
from genir.decoding.trie import Trie
from genir.model import DocidModel
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout


class Counting(DocidModel):
    """Counts the passes through the decoder and the tokens in them."""

    passes = tokens_run = 0

    def extend(self, memory, shares, past, tokens, before):
        self.passes += 1
        self.tokens_run += tokens.numel()
        return super().extend(memory, shares, past, tokens, before)


def counting(model):
    return Counting(model.t5, model.layout, model.softmax_over)


def encoded(model, count=2):
    ids = torch.randint(3, 20, (count, 6), generator=torch.Generator().manual_seed(1))
    return model.encode(ids, torch.ones_like(ids))


def random_codes(count, levels, codebook_size=16, seed=0):
    return np.random.default_rng(seed).integers(0, codes, (count, levels))


def test_a_long_docid_takes_few_passes_once_it_is_the_only_one_left(make_model):
    """Of 200 random docids of 16 codes all are unique after about three: not 24 passes, but about six."""
    model = counting(make_model((16,) * 24))
    beam_search(model, Trie.from_codes(random_codes(200, 24)), encoded(model), 10, 10)
    assert model.passes <= 8


@pytest.mark.parametrize("queries", [1, 3])
def test_what_cannot_be_among_the_best_is_not_run(make_model, queries):
    """Where tails cost little: the best 2 of 100 beams are those of the best 100, for a part of the tokens."""
    model = counting(make_model((16,) * 3 + (1,) * 21))
    trie = Trie.from_codes(np.pad(random_codes(2000, 3), ((0, 0), (0, 21))))
    everything = beam_search(model, trie, encoded(model, queries), 100, 100)
    whole, model.tokens_run = model.tokens_run, 0
    few = beam_search(model, trie, encoded(model, queries), 100, 2)
    assert few.leaves.tolist() == everything.leaves[:, :2].tolist()
    torch.testing.assert_close(few.scores, everything.scores[:, :2], atol=1e-5, rtol=0)
    assert model.tokens_run < 0.5 * whole


def test_two_docids_alike_to_their_end_do_not_hold_the_others_back(make_model):
    """One docid more than beams, for 20 levels: nothing waits for the level where they part."""
    model = counting(make_model((16,) * 3 + (1,) * 20 + (2,)))
    codes = np.pad(np.unique(random_codes(40, 3), axis=0)[:30], ((0, 0), (0, 21)))
    twins = codes[:1] + np.eye(24, dtype=int)[-1]
    trie = Trie.from_codes(np.concatenate([codes, twins]))
    states = encoded(model)
    wanted = beam_search(model, trie, states, 30, 30)
    assert model.passes < 10
    model.passes = 0
    found = beam_search(model, trie, states, 30, 3)
    assert found.leaves.tolist() == wanted.leaves[:, :3].tolist()
    torch.testing.assert_close(found.scores, wanted.scores[:, :3], atol=1e-5, rtol=0)
    assert model.passes < 10


@pytest.mark.parametrize("k", [1, 3, 30])
def test_tails_that_begin_anywhere_are_scored_as_whole_docids_are(make_model, k):
    """Singles with codes of which none, some or all but one are scored already; the k best of them are found."""
    model = make_model((6,) * 5)
    trie = Trie.from_codes(random_codes(20, 5, 6))
    states = encoded(model, 2)
    with torch.no_grad():
        each = model.code_logps(states, trie.codes.long().expand(2, -1, -1))
        memory, past, parked = model.precompute_cross_attention(states), KVCache(model.t5), []
        for done in (0, 2, 4):
            leaf = torch.arange(done, trie.size, 5)
            query = torch.arange(2).repeat_interleave(len(leaf))
            leaf = leaf.repeat(2)
            path = torch.empty(len(leaf), 0).long()
            if done:
                shares = RaggedLayout.from_lengths([len(leaf) // 2] * 2, torch.device("cpu"))
                path = model.extend(memory, shares, past, model.decoder_inputs(trie.codes[leaf, : done - 1].long()), path)[1]
            parked.append(Completions(query, leaf, each[query, leaf, :done].sum(1), path))
        finished = TopK(2, k, trie.size, torch.device("cpu"))
        finished, _ = score_tails(model, memory, past, ForcedTails(trie, None, parked), finished, None)
    some = torch.cat([x.leaf[: len(x.leaf) // 2] for x in parked]).unique()
    for b in range(2):
        scores = each[b, some].sum(1)
        order = scores.sort(descending=True, stable=True).indices[:k]
        count = len(order)
        assert finished.leaves[b, :count].tolist() == some[order].tolist()
        torch.testing.assert_close(finished.scores[b, :count], scores[order], atol=1e-5, rtol=1e-6)

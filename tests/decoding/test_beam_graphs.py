"""What a GPU does by graphs, without a GPU."""

import gc
import weakref
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genir.t5.cuda_graphs
import genir.t5.kv_cache
from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.t5.cuda_graphs import CUDAGraphCache
from genir.t5.loading import set_dropout
from tests.helpers import search as brute
from tests.helpers.graph_player import Player, tensors
from tests.helpers.models import make_model
from tests.helpers.search import queries, random_codes, text_codes, text_model


@pytest.fixture
def player(monkeypatch):
    """Searches made from now on go by graphs."""
    made = Player()
    monkeypatch.setattr(genir.t5.cuda_graphs, "capture", made.capture)
    monkeypatch.setattr(genir.t5.cuda_graphs, "new_pool", object)
    monkeypatch.setattr(genir.t5.kv_cache, "Replays", CUDAGraphCache)
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: True)
    return made


def search(model, trie, ids, mask, *arguments, **kwargs):
    with torch.no_grad():
        return beam_search(model, trie, model.encode(ids, mask), *arguments, **kwargs)


def assert_same(found, wanted):
    assert torch.equal(found.leaves, wanted.leaves)
    torch.testing.assert_close(found.scores, wanted.scores, atol=1e-4, rtol=0)
    assert torch.equal(found.exact, wanted.exact)


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_graphs_find_the_same(make_model, player, monkeypatch, exact, v10, filtered):
    sizes = (5, 7, 4, 6, 5)
    trie = Trie.from_codes(random_codes(900, sizes, 1))
    allowed = trie.restrict_to(np.arange(0, 900, 3)) if filtered else None
    model = make_model(sizes, v10=v10)
    cases = [(queries(count, seed, length), beams) for count, seed, length, beams in CASES]
    uses_cuda_graphs = [search(model, trie, *batch, beams, 5, allowed=allowed, exact=exact) for batch, beams in cases]
    assert player.replayed > 2 * player.captured
    assert {"precompute_cross_attention", "_extend_by_graph.<locals>.run", "_run_encoder"} <= player.names
    assert ("step_by_graph.<locals>.run" in player.names) != (exact or filtered)
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    for (batch, beams), found in zip(cases, uses_cuda_graphs, strict=True):
        assert_same(found, search(make_model(sizes, v10=v10), trie, *batch, beams, 5, allowed=allowed, exact=exact))


CASES = [(2, 0, 7, 10), (3, 1, 5, 10), (2, 2, 20, 10), (3, 3, 7, 10), (2, 4, 18, 20), (1, 5, 3, 10), (3, 6, 4, 10)]


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_searches_one_after_another_of_any_trie(data):
    """Levels with one code, levels that the codes before them decide, few graphs kept, little room."""
    seed, count = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([1, 2, 30, 300]))
    sizes = tuple(data.draw(st.lists(st.sampled_from([1, 2, 5, 16]), min_size=1, max_size=6)))
    codes = random_codes(count, sizes, seed)
    decided = data.draw(st.integers(0, len(sizes) - 1))
    codes[:, decided] = codes[:, :decided].sum(1) % sizes[decided]
    trie, make, player = Trie.from_codes(codes), make_model, Player()
    model, plain = make(sizes, seed=seed), make(sizes, seed=seed)
    limits = patch.multiple(
        genir.t5.kv_cache, _FIRST_GPU_CAPACITY=data.draw(st.sampled_from([1, 4096])), uses_cuda_graphs=lambda t5: t5 is model.t5
    )
    graphs = patch.multiple(
        genir.t5.cuda_graphs, capture=player.capture, new_pool=object, _MAX_GRAPHS=data.draw(st.sampled_from([3, 256]))
    )
    with limits, graphs:
        for turn in range(3):
            batch = queries(data.draw(st.integers(1, 4)), seed + turn, data.draw(st.integers(2, 18)))
            beams, k = data.draw(st.sampled_from([1, 3, 20])), data.draw(st.sampled_from([1, 5]))
            found, wanted = (search(x, trie, *batch, beams, k) for x in (model, plain))
            brute.assert_same(found, wanted.leaves, wanted.scores)
    assert player.captured


def test_short_sources_of_a_wide_model(make_model, player, monkeypatch):
    """Whose cross-attention has the projections in it."""
    sizes = (5, 7, 4, 6)
    trie = Trie.from_codes(random_codes(900, sizes, 1))
    model = make_model(sizes, width=64)
    found = search(model, trie, *queries(3), 10, 5)
    with torch.inference_mode(), model.borrow_kv_cache() as past:
        assert model.precompute_cross_attention(model.encode(*queries(3)), past).short is not None
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    assert_same(found, search(make_model(sizes, width=64), trie, *queries(3), 10, 5))


def test_text_docids_of_many_tokens(make_model, player, monkeypatch):
    trie = Trie.from_codes(text_codes(300, 20, 2))
    found = [search(text_model(make_model, 20), trie, *queries(3, seed), 8, 5) for seed in range(3)]
    assert player.captured
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    for seed, result in enumerate(found):
        assert_same(result, search(text_model(make_model, 20), trie, *queries(3, seed), 8, 5))


def test_graphs_are_captured_anew_when_weights_or_keys_have_moved(make_model, player, monkeypatch):
    sizes = (9, 9, 9)
    trie, model = Trie.from_codes(random_codes(500, sizes, 1)), make_model(sizes)
    monkeypatch.setattr(genir.t5.kv_cache, "_FIRST_GPU_CAPACITY", 1)
    search(model, trie, *queries(2), 10, 5)
    grown = player.captured
    search(model, trie, *queries(2), 10, 5)
    again = player.captured
    search(model, trie, *queries(2), 10, 5)
    assert again > grown > 0
    assert player.captured == again
    with torch.no_grad():
        weight = model.t5.decoder.block[0].layer[0].SelfAttention.q.weight
        weight.data = weight.data.flip(0).contiguous()
    found = search(model, trie, *queries(2), 10, 5)
    assert player.captured > again
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    assert_same(found, search(model, trie, *queries(2), 10, 5))


def test_not_more_graphs_are_kept_than_there_is_room_for(make_model, player, monkeypatch):
    monkeypatch.setattr(genir.t5.cuda_graphs, "_MAX_GRAPHS", 4)
    sizes = (5, 7, 4, 6, 5)
    trie, model = Trie.from_codes(random_codes(900, sizes, 1)), make_model(sizes)
    found = [search(model, trie, *queries(3, seed, 7 + 4 * seed), 10, 5) for seed in range(4)]
    assert len(model._pasts.idle[0].graphs._graphs) <= 4 < player.captured
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    for seed, result in enumerate(found):
        assert_same(result, search(model, trie, *queries(3, seed, 7 + 4 * seed), 10, 5))


@pytest.mark.parametrize(("count", "length"), [(64, 70), (58, 68)])
def test_long_sources_leave_no_graphs_that_never_return(make_model, player, monkeypatch, count, length):
    """Keys and values of so many source tokens are made for one search; a graph that reads them serves no other. The
    second batch is small before it is filled up, not after.
    """
    sizes = (5, 7, 4)
    trie, model = Trie.from_codes(random_codes(100, sizes, 1)), make_model(sizes)
    for _ in range(2):  # the first makes room, for which graphs are captured anew
        found = search(model, trie, *queries(count, 0, length), 10, 5)
    captured = player.captured
    search(model, trie, *queries(count, 0, length), 10, 5)
    assert player.captured == captured > 0
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    assert_same(found, search(model, trie, *queries(count, 0, length), 10, 5))


def without_parting(level):
    """Codes of which one follows from those before it."""
    codes = random_codes(300, (5, 7, 4, 6), 1)
    codes[:, level] = codes[:, :level].sum(1) % 4
    return codes


@pytest.mark.parametrize("codes", [np.array([[0, 1, 2, 3]]), without_parting(0), without_parting(2)])
def test_levels_at_which_no_docids_part(make_model, player, monkeypatch, codes):
    """What fills up the beams has its children within the trie, too: beyond it a GPU would stop for good."""
    trie = Trie.from_codes(codes)
    found = search(make_model((5, 7, 4, 6)), trie, *queries(2), 10, 5)
    assert "step_by_graph.<locals>.run" in player.names
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    assert_same(found, search(make_model((5, 7, 4, 6)), trie, *queries(2), 10, 5))


def test_one_weight_may_be_another_tensor_and_all_may_change_in_place(make_model, player, monkeypatch):
    sizes = (5, 7, 4, 6)
    trie, model = Trie.from_codes(random_codes(300, sizes, 1)), make_model(sizes)
    for _ in range(2):
        search(model, trie, *queries(2), 10, 5)
    captured, attention = player.captured, model.t5.decoder.block[0].layer[0].SelfAttention
    found = []
    with torch.no_grad():
        for weight in model.t5.parameters():
            weight.mul_(1.1)
        found.append(search(model, trie, *queries(2), 10, 5))
        assert player.captured == captured
        attention.q.weight = torch.nn.Parameter(attention.q.weight.flip(0))
        found.append(search(model, trie, *queries(2), 10, 5))
    assert player.captured > captured
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    assert_same(found[1], search(model, trie, *queries(2), 10, 5))
    with torch.no_grad():
        attention.q.weight.copy_(attention.q.weight.flip(0))
    assert_same(found[0], search(model, trie, *queries(2), 10, 5))


def test_graphs_of_a_search_with_dropout_serve_none_without(make_model, player, monkeypatch):
    sizes = (5, 7, 4, 6)
    trie, model = Trie.from_codes(random_codes(300, sizes, 1)), make_model(sizes)
    set_dropout(model.t5, 0.5)
    encoded = model.encode(*queries(2))
    model.t5.train()
    for _ in range(2):
        beam_search(model, trie, encoded, 10, 5)
    model.t5.train(False)
    found = beam_search(model, trie, encoded, 10, 5)
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    assert_same(found, beam_search(model, trie, encoded, 10, 5))


def test_one_search_alone_may_keep_twice_the_room_for_its_graphs(make_model, player, monkeypatch):
    trie, model = Trie.from_codes(random_codes(300, (5, 7, 4), 1)), make_model((5, 7, 4))
    for _ in range(2):
        search(model, trie, *queries(2), 10, 5)
    captured, held = player.captured, model._pasts.idle[0].nbytes
    monkeypatch.setattr(genir.t5.kv_cache, "_MAX_KEPT_BYTES", held // 2 + 1)
    search(model, trie, *queries(2), 10, 5)
    assert player.captured == captured
    with model.borrow_kv_cache():  # not beside another one
        search(model, trie, *queries(2), 10, 5)
    assert len(model._pasts.idle) == 1
    monkeypatch.setattr(genir.t5.kv_cache, "_MAX_KEPT_BYTES", held // 2 - 1)
    search(model, trie, *queries(2), 10, 5)
    assert not model._pasts.idle


def test_graphs_hold_no_more_memory_than_they_may(make_model, player, monkeypatch):
    most = 1 << 20
    monkeypatch.setattr(genir.t5.kv_cache, "_MAX_KEPT_BYTES", most)
    trie, model, held, largest = Trie.from_codes(random_codes(300, (5, 7, 4), 1)), make_model((5, 7, 4)), [], 0
    for count in range(2, 30):
        search(model, trie, *queries(count), 10, 5)
        graphs = [tensors(graph[1:3]) for graph in model._pasts.idle[0].graphs._graphs.values()]
        sizes = [sum(x.nbytes for x in graph) for graph in graphs]
        held.append(sum(sizes))
        largest = max(largest, *sizes)
    assert max(held) <= most + largest
    assert min(held[5:]) < max(held) / 2  # and begins anew then


def test_searches_of_several_tries_and_what_was_encoded_before(make_model, player, monkeypatch):
    sizes = (5, 7, 4, 6, 5)
    tries, model = [Trie.from_codes(random_codes(700, sizes, seed)) for seed in (1, 2)], make_model(sizes)
    with torch.no_grad():
        encoded = [model.encode(*queries(2, seed)) for seed in range(3)]
    found = [beam_search(model, trie, states, 10, 5) for trie in tries for states in encoded]
    monkeypatch.setattr(genir.t5.kv_cache, "uses_cuda_graphs", lambda t5: False)
    model._pasts.idle.clear()
    wanted = [search(model, trie, *queries(2, seed), 10, 5) for trie in tries for seed in range(3)]
    for result, other in zip(found, wanted, strict=True):
        assert_same(result, other)


def test_what_is_not_used_any_more_is_free_at_once(make_model, player, monkeypatch):
    """Without the collector: a GPU's memory would be full before it comes."""
    trie, model, pasts = Trie.from_codes(random_codes(500, (9, 9, 9), 1)), make_model((9, 9, 9)), []
    monkeypatch.setattr(genir.t5.kv_cache.KVCache, "use", lambda self, trie: pasts.append(weakref.ref(self)))
    gc.collect()
    gc.disable()
    try:
        monkeypatch.setattr("genir.t5.kv_cache._MAX_KEPT_BYTES", -1)
        search(model, trie, *queries(2), 10, 5)
        assert pasts.pop()() is None
        monkeypatch.setattr("genir.t5.kv_cache._MAX_KEPT_BYTES", 1 << 30)
        search(model, trie, *queries(2), 10, 5)
        assert pasts[0]() is not None
        t5 = weakref.ref(model.t5)
        player.outputs.clear()
        del model
        assert pasts[0]() is None
        assert t5() is None
    finally:
        gc.enable()

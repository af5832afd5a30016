"""Searches with CUDA graphs find what searches without graphs find, with few graphs; tested without a GPU."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import genir.t5.cuda_graphs
import genir.t5.kv_cache
from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from genir.t5.loading import set_dropout
from tests.helpers.graph_player import GraphPlayer, tensors, without_graphs
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import (
    assert_same_ranking,
    make_masses,
    random_codes,
    random_log_priors,
    random_queries,
    random_text_docids,
)

STEP = "step_by_graph.<locals>.run"
BOTH = pytest.mark.parametrize("softmax_over", ["trie", "full"])


@pytest.fixture
def player():
    return GraphPlayer()


def search(model, trie, ids, mask, *arguments, **kwargs):
    with torch.no_grad():
        return beam_search(model, trie, model.encode(ids, mask), *arguments, **kwargs)


def assert_same(result, expected):
    assert torch.equal(result.leaves, expected.leaves)
    torch.testing.assert_close(result.scores, expected.scores, atol=1e-4, rtol=0)
    assert torch.equal(result.exact, expected.exact)


def idle_cache(model):
    """The KV cache that the searches of a model have used."""
    with model.borrow_kv_cache() as cache:
        return cache


BATCHES = [(2, 0, 7, 10), (3, 1, 5, 10), (2, 2, 20, 10), (3, 3, 7, 10), (2, 4, 18, 20), (1, 5, 3, 10), (3, 6, 4, 10)]
"""Number of queries, seed, length and beam size."""


@pytest.mark.slow
@pytest.mark.parametrize(("softmax_over", "v10"), [("trie", False), ("full", False), ("full", True)])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("filtered", [True, False])
def test_searches_one_after_another_find_the_same_as_without_graphs(player, exact, v10, filtered, softmax_over):
    """A search with a softmax over the trie has graphs of its decoder passes only."""
    sizes = (5, 7, 4, 6, 5)
    trie = Trie.from_codes(random_codes(900, sizes, 1))
    allowed = trie.allow(np.arange(0, 900, 3)) if filtered else None
    model = make_model(sizes, softmax_over, v10)
    cases = [(random_queries(count, seed, length), beams) for count, seed, length, beams in BATCHES]
    with player.install():
        results = [search(model, trie, *batch, beams, 5, allowed=allowed, exact=exact) for batch, beams in cases]
    assert player.num_replayed > (2 if softmax_over == "full" else 1) * player.num_captured
    assert {"precompute_cross_attention", "_extend_by_graph.<locals>.run", "_run_encoder"} <= player.functions
    assert (STEP in player.functions) == (softmax_over == "full" and not exact and not filtered)
    for (batch, beams), result in zip(cases, results, strict=True):
        assert_same(result, search(without_graphs(model), trie, *batch, beams, 5, allowed=allowed, exact=exact))


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_searches_of_any_trie_find_the_same_as_without_graphs(data):
    """Including levels with one code, levels that the codes before them decide, few graphs, and small caches."""
    seed, count = data.draw(st.integers(0, 10**6)), data.draw(st.sampled_from([1, 2, 30, 300]))
    sizes = tuple(data.draw(st.lists(st.sampled_from([1, 2, 5, 16]), min_size=1, max_size=6)))
    codes = random_codes(count, sizes, seed)
    decided = data.draw(st.integers(0, len(sizes) - 1))
    codes[:, decided] = codes[:, :decided].sum(1) % sizes[decided]
    trie, player = Trie.from_codes(codes), GraphPlayer()
    softmax_over = data.draw(st.sampled_from(["trie", "full"]))
    model, plain = make_model(sizes, softmax_over, seed=seed), make_model(sizes, softmax_over, seed=seed)
    constants = {
        "_MIN_GPU_CAPACITY": data.draw(st.sampled_from([1, 4096])),
        "_MAX_GRAPHS": data.draw(st.sampled_from([3, 256])),
    }
    with player.install(lambda t5: t5 is model.t5, **constants):
        for turn in range(3):
            batch = random_queries(data.draw(st.integers(1, 4)), seed + turn, data.draw(st.integers(2, 18)))
            beams, k = data.draw(st.sampled_from([1, 3, 20])), data.draw(st.sampled_from([1, 5]))
            masses = make_masses(trie, random_log_priors(len(batch[0]), count, seed + turn))
            result, expected = (search(x, trie, *batch, beams, k, masses=masses) for x in (model, plain))
            assert_same_ranking(result, expected.leaves, expected.scores)
    assert player.num_captured


def test_short_sources_whose_cross_attention_is_folded(player):
    sizes = (5, 7, 4, 6)
    trie = Trie.from_codes(random_codes(900, sizes, 1))
    model = make_model(sizes, "full", width=64)
    with player.install():
        result = search(model, trie, *random_queries(3), 10, 5)
        with torch.inference_mode(), model.borrow_kv_cache() as cache:
            encoded = model.encode(*random_queries(3))
            assert model.precompute_cross_attention(encoded, cache).folded is not None
    assert_same(result, search(without_graphs(model), trie, *random_queries(3), 10, 5))


@pytest.mark.slow
@BOTH
def test_text_docids_of_many_tokens(player, softmax_over):
    trie = Trie.from_codes(random_text_docids(300, 20, 2))
    model = make_text_model(20, softmax_over=softmax_over)
    with player.install():
        results = [search(model, trie, *random_queries(3, seed), 8, 5) for seed in range(3)]
    assert player.num_captured
    for seed, result in enumerate(results):
        assert_same(result, search(without_graphs(model), trie, *random_queries(3, seed), 8, 5))


def test_graphs_are_captured_again_after_weights_or_cached_keys_have_moved(player):
    sizes = (9, 9, 9)
    trie, model = Trie.from_codes(random_codes(500, sizes, 1)), make_model(sizes, "full")
    counts = []
    with player.install(_MIN_GPU_CAPACITY=1):
        for _ in range(3):
            search(model, trie, *random_queries(2), 10, 5)
            counts.append(player.num_captured)
        with torch.no_grad():
            weight = model.t5.decoder.block[0].layer[0].SelfAttention.q.weight
            weight.data = weight.data.flip(0).contiguous()
        result = search(model, trie, *random_queries(2), 10, 5)
    growing, grown, unchanged = counts
    assert 0 < growing < grown == unchanged < player.num_captured
    assert_same(result, search(without_graphs(model), trie, *random_queries(2), 10, 5))


@pytest.mark.slow
def test_a_cache_never_has_more_graphs_than_allowed(player):
    sizes = (5, 7, 4, 6, 5)
    trie, model = Trie.from_codes(random_codes(900, sizes, 1)), make_model(sizes, "full")
    batches = [random_queries(3, seed, 7 + 4 * seed) for seed in range(4)]
    with player.install(_MAX_GRAPHS=4):
        results = [search(model, trie, *batch, 10, 5) for batch in batches]
        assert len(idle_cache(model).graphs._graphs) <= 4 < player.num_captured
    for batch, result in zip(batches, results, strict=True):
        assert_same(result, search(without_graphs(model), trie, *batch, 10, 5))


@pytest.mark.parametrize(("count", "length"), [(64, 70), (58, 68)])
def test_searches_of_long_sources_leave_no_graphs_that_no_later_search_can_use(player, count, length):
    """Cross-attention of so many source tokens is computed for one search, so graphs that read it serve no other.

    The second batch has few tokens before it is padded, but too many after that.
    """
    sizes = (5, 7, 4)
    trie, model = Trie.from_codes(random_codes(100, sizes, 1)), make_model(sizes, "full")
    batch = random_queries(count, 0, length)
    with player.install():
        for _ in range(2):  # in the first one the cache grows, after which graphs are captured again
            result = search(model, trie, *batch, 10, 5)
        captured = player.num_captured
        search(model, trie, *batch, 10, 5)
    assert player.num_captured == captured > 0
    assert_same(result, search(without_graphs(model), trie, *batch, 10, 5))


def codes_without_branches(level):
    """Docids whose code at one level follows from the codes before it."""
    codes = random_codes(300, (5, 7, 4, 6), 1)
    codes[:, level] = codes[:, :level].sum(1) % 4
    return codes


@pytest.mark.parametrize("codes", [np.array([[0, 1, 2, 3]]), codes_without_branches(0), codes_without_branches(2)])
def test_levels_at_which_no_docids_branch_change_no_result(player, codes):
    """The children of padding beams must be inside the trie: an index beyond it would abort the process on a GPU."""
    trie, model = Trie.from_codes(codes), make_model((5, 7, 4, 6), "full")
    with player.install():
        result = search(model, trie, *random_queries(2), 10, 5)
    assert STEP in player.functions
    assert_same(result, search(without_graphs(model), trie, *random_queries(2), 10, 5))


@pytest.mark.slow
def test_weights_may_change_in_place_or_be_replaced_between_searches(player):
    sizes = (5, 7, 4, 6)
    trie, model = Trie.from_codes(random_codes(300, sizes, 1)), make_model(sizes, "full")
    attention, batch = model.t5.decoder.block[0].layer[0].SelfAttention, random_queries(2)
    with player.install(), torch.no_grad():
        for _ in range(2):
            search(model, trie, *batch, 10, 5)
        captured = player.num_captured
        for weight in model.t5.parameters():
            weight.mul_(1.1)
        changed = search(model, trie, *batch, 10, 5)
        assert player.num_captured == captured
        attention.q.weight = torch.nn.Parameter(attention.q.weight.flip(0))
        replaced = search(model, trie, *batch, 10, 5)
        assert player.num_captured > captured
    assert_same(replaced, search(without_graphs(model), trie, *batch, 10, 5))
    with torch.no_grad():
        attention.q.weight.copy_(attention.q.weight.flip(0))
    assert_same(changed, search(without_graphs(model), trie, *batch, 10, 5))


def test_graphs_that_were_captured_with_dropout_are_not_used_without_it(player):
    sizes = (5, 7, 4, 6)
    trie, model = Trie.from_codes(random_codes(300, sizes, 1)), make_model(sizes, "full")
    set_dropout(model.t5, 0.5)
    encoded = model.encode(*random_queries(2))
    with player.install():
        model.t5.train()
        for _ in range(2):
            beam_search(model, trie, encoded, 10, 5)
        model.t5.train(False)
        result = beam_search(model, trie, encoded, 10, 5)
    assert_same(result, beam_search(without_graphs(model), trie, encoded, 10, 5))


@pytest.mark.slow
def test_a_single_cache_may_exceed_the_limit_twofold_but_not_beside_another(player, monkeypatch):
    trie, model = Trie.from_codes(random_codes(300, (5, 7, 4), 1)), make_model((5, 7, 4), "full")
    with player.install():
        for _ in range(2):
            search(model, trie, *random_queries(2), 10, 5)
        idle, captured = model._kv_caches.idle, player.num_captured
        monkeypatch.setattr(genir.t5.kv_cache, "_MAX_IDLE_BYTES", idle[0].nbytes // 2 + 1)
        search(model, trie, *random_queries(2), 10, 5)
        assert player.num_captured == captured
        with model.borrow_kv_cache():
            search(model, trie, *random_queries(2), 10, 5)
        assert len(idle) == 1
        monkeypatch.setattr(genir.t5.kv_cache, "_MAX_IDLE_BYTES", idle[0].nbytes // 2 - 1)
        search(model, trie, *random_queries(2), 10, 5)
        assert not idle


@pytest.mark.slow
def test_graphs_are_deleted_once_they_hold_too_many_bytes(player):
    limit = 1 << 20
    trie, model, held, largest = Trie.from_codes(random_codes(300, (5, 7, 4), 1)), make_model((5, 7, 4), "full"), [], 0
    with player.install(_MAX_IDLE_BYTES=limit):
        for count in range(2, 30):
            search(model, trie, *random_queries(count), 10, 5)
            graphs = [tensors(graph[1:3]) for graph in idle_cache(model).graphs._graphs.values()]
            sizes = [sum(x.nbytes for x in graph) for graph in graphs]
            held.append(sum(sizes))
            largest = max(largest, *sizes)
    assert max(held) <= limit + largest
    assert min(held[5:]) < max(held) / 2  # they were deleted and captured again


@pytest.mark.slow
def test_searches_of_two_tries_with_queries_encoded_before_find_the_same_as_without_graphs(player):
    sizes = (5, 7, 4, 6, 5)
    tries, model = [Trie.from_codes(random_codes(700, sizes, seed)) for seed in (1, 2)], make_model(sizes, "full")
    with player.install(), torch.no_grad():
        encoded = [model.encode(*random_queries(2, seed)) for seed in range(3)]
        results = [beam_search(model, trie, states, 10, 5) for trie in tries for states in encoded]
    expected = [search(without_graphs(model), trie, *random_queries(2, x), 10, 5) for trie in tries for x in range(3)]
    for result, other in zip(results, expected, strict=True):
        assert_same(result, other)


@pytest.mark.slow
def test_memory_is_freed_immediately_without_the_garbage_collector(player, monkeypatch):
    """A GPU's memory would be full before the collector runs."""
    trie, model, caches = Trie.from_codes(random_codes(500, (9, 9, 9), 1)), make_model((9, 9, 9), "full"), []
    monkeypatch.setattr(genir.t5.kv_cache.KVCache, "bind_trie", lambda self, trie: caches.append(weakref.ref(self)))
    gc.collect()
    gc.disable()
    try:
        with player.install():
            with monkeypatch.context() as context:
                context.setattr(genir.t5.kv_cache, "_MAX_IDLE_BYTES", -1)
                search(model, trie, *random_queries(2), 10, 5)
            assert caches.pop()() is None
            search(model, trie, *random_queries(2), 10, 5)
            assert caches[0]() is not None
            t5 = weakref.ref(model.t5)
            player.outputs.clear()
            del model
            assert caches[0]() is None
            assert t5() is None
    finally:
        gc.enable()

"""The room of searches one after another, and of searches at the same time."""

import sys
from concurrent.futures import ThreadPoolExecutor

import torch

from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.model import DocidModel
from tests.helpers.search import queries, random_codes

SIZES = (3, 4, 2)


def test_searches_before_it_or_at_the_same_time_change_nothing(make_model):
    """The room of keys and values is used again, by one search at a time."""
    model = make_model((4,) * 6)
    trie = Trie.from_codes(random_codes(300, (4,) * 6, 3))
    batches = [model.encode(*queries(3, seed)) for seed in range(24)]
    beam_search(model, trie, batches[0], 20, 8)
    fresh = [
        beam_search(DocidModel(model.t5, model.layout, model.normalize), trie, batch, 20, 8).leaves for batch in batches
    ]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: beam_search(model, trie, batch, 20, 8).leaves, batches))
    sys.setswitchinterval(interval)
    assert all(torch.equal(a, b) for a, b in zip(found, fresh, strict=True))


def test_room_for_keys_is_kept_for_as_many_searches_as_there_are_at_a_time(make_model, monkeypatch):
    model = make_model(SIZES)
    with model.past() as one, model.past() as other:
        assert one is not other
        one.reserve(100), other.reserve(100)
    with model.past() as third, model.past() as fourth:
        assert {id(third), id(fourth)} == {id(one), id(other)}
        assert third.size == fourth.size == 0
        assert third.nbytes
    monkeypatch.setattr("genir.t5.kv_cache._KEPT", one.nbytes)
    with model.past(), model.past():
        pass
    with model.past() as fifth, model.past() as sixth:
        assert sum(x in (one, other) for x in (fifth, sixth)) == 1

import pytest
import torch

from genir.errors import SearchTimeout
from genir.t5.kv_cache import KVCache, KVCachePool
from tests.helpers.models import make_model

SIZES = (3, 4, 2)


def test_slots_keep_their_keys_and_values_while_the_cache_grows():
    cache, written = KVCache(make_model(SIZES).t5), []
    for step in range(6):
        slots = torch.tensor(cache.allocate(2 * 3)).view(2, 3)
        for layer in range(2):
            keys, values = torch.randn(2, 2, 3, 16)
            cache.write(layer, slots, keys, values)
            written.append((layer, slots, keys, values))
        assert cache.size == 6 * (step + 1)
    for layer, slots, keys, values in written:
        for got, expected in zip(cache.read(layer, slots), (keys, values), strict=True):
            assert torch.equal(got.transpose(1, 2).flatten(2), expected)  # [n, H, T, E] as [n, T, H * E]


def test_slots_may_be_read_in_any_order_and_by_several_beams():
    cache = KVCache(make_model(SIZES).t5)
    slots = torch.tensor(cache.allocate(4)).view(4, 1)
    keys = torch.arange(4.0).view(4, 1, 1).expand(-1, -1, 16)
    cache.write(0, slots, keys, -keys)
    read_keys, read_values = cache.read(0, torch.tensor([[2, 0, 0], [2, 3, 1]]))
    assert read_keys[:, 1, :, 5].tolist() == [[2, 0, 0], [2, 3, 1]]
    assert torch.equal(read_values, -read_keys)


def test_a_cache_is_compatible_with_models_of_its_dtype():
    t5 = make_model(SIZES).t5
    cache = KVCache(t5)
    assert cache.is_compatible(t5)
    assert not cache.is_compatible(t5.to(torch.bfloat16))


def test_returned_caches_are_reused_unless_they_take_too_much_memory(monkeypatch):
    pool, t5 = KVCachePool(), make_model(SIZES).t5
    with pool.borrow(t5) as one, pool.borrow(t5) as other:
        assert one is not other
        one.allocate(100)
        other.allocate(100)
    with pool.borrow(t5) as third, pool.borrow(t5) as fourth:
        assert {id(third), id(fourth)} == {id(one), id(other)}
        assert third.size == fourth.size == 0
        assert third.nbytes
    monkeypatch.setattr("genir.t5.kv_cache._MAX_IDLE_BYTES", one.nbytes)
    with pool.borrow(t5), pool.borrow(t5):
        pass
    with pool.borrow(t5) as fifth, pool.borrow(t5) as sixth:
        assert sum(cache in (one, other) for cache in (fifth, sixth)) == 1


def test_a_cache_of_another_dtype_is_not_reused():
    pool, t5 = KVCachePool(), make_model(SIZES).t5
    with pool.borrow(t5) as single:
        single.allocate(10)
    with pool.borrow(t5.to(torch.bfloat16)) as half:
        assert half is not single
        keys = torch.randn(1, 1, 16, dtype=torch.bfloat16)
        half.write(0, torch.tensor(half.allocate(1)).view(1, 1), keys, keys)
        assert half.read(0, torch.zeros(1, 1).long())[0].dtype == torch.bfloat16


def test_the_cache_of_a_search_that_failed_is_not_reused():
    pool, t5 = KVCachePool(), make_model(SIZES).t5
    with pytest.raises(RuntimeError, match="failed"), pool.borrow(t5) as broken:
        raise RuntimeError("failed")
    with pool.borrow(t5) as cache:
        assert cache is not broken


def test_the_cache_of_a_search_that_reached_its_deadline_is_reused():
    pool, t5 = KVCachePool(), make_model(SIZES).t5
    with pytest.raises(SearchTimeout), pool.borrow(t5) as stopped:
        stopped.allocate(3)
        raise SearchTimeout("too late")
    with pool.borrow(t5) as cache:
        assert cache is stopped
        assert cache.size == 0

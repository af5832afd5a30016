"""Searches on a CUDA device against those on the CPU, which the other tests compare with brute force."""

import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.model import DocidModel
from tests.helpers.search import queries, random_codes, text_codes, text_model

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ("cpu", "cuda")


def on(device, model, dtype=torch.float32):
    return DocidModel(model.t5.to(device, dtype), model.layout, model.softmax_over)


def search(model, trie, ids, mask, *arguments, allowed=None, **kwargs):
    device = model.device
    encoded = model.encode(ids.to(device), mask.to(device))
    part = None if allowed is None else trie.restrict_to(allowed).to(device)
    found = beam_search(model, trie.to(device), encoded, *arguments, allowed=part, **kwargs)
    return [x.cpu() for x in found]


def assert_same(found, wanted):
    torch.testing.assert_close(found[1], wanted[1], atol=1e-4, rtol=0)
    gaps = (wanted[1][:, :-1] - wanted[1][:, 1:]).abs() < 1e-4  # these may change places by rounding
    near = torch.nn.functional.pad(gaps, (1, 0)) | torch.nn.functional.pad(gaps, (0, 1))
    assert torch.equal(found[0][~near], wanted[0][~near])


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("beams", "k"), [(4, 4), (10, 5), (40, 10)])
@pytest.mark.parametrize("filtered", [True, False])
def test_code_docids(make_model, beams, k, exact, v10, filtered):
    sizes = (5, 7, 4, 6, 5)
    trie = Trie.from_codes(random_codes(600, sizes, 1))
    allowed = np.arange(0, 600, 3) if filtered else None
    on_cpu, on_gpu = (
        search(on(device, make_model(sizes, v10=v10)), trie, *queries(5), beams, k, allowed=allowed, exact=exact)
        for device in DEVICES
    )
    assert_same(on_gpu, on_cpu)
    if exact:
        assert on_gpu[2].all()


@pytest.mark.parametrize("exact", [True, False])
def test_text_docids(make_model, exact):
    trie = Trie.from_codes(text_codes(300, 9, 2))
    on_cpu, on_gpu = (
        search(on(device, text_model(make_model, 9)), trie, *queries(3), 8, 5, exact=exact) for device in DEVICES
    )
    assert_same(on_gpu, on_cpu)


def test_bf16_finds_the_best_of_the_scores_that_it_gives(make_model):
    sizes = (5, 7, 4, 6)
    codes = random_codes(300, sizes, 1)
    trie, (ids, mask) = Trie.from_codes(codes), queries(6)
    model = on("cuda", make_model(sizes), torch.bfloat16)
    leaves, scores, proven = search(model, trie, ids, mask, 20, 10, exact=True)
    assert proven.all()
    wide = on("cpu", make_model(sizes))
    with torch.no_grad():
        exact = wide.sequence_logps(wide.encode(ids, mask), trie.codes.long().expand(6, -1, -1))
    torch.testing.assert_close(scores, exact.gather(1, leaves), atol=0.3, rtol=0)
    topk_mask = exact.topk(10, dim=1).values
    assert ((exact.gather(1, leaves) - topk_mask).abs() < 0.3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_is_the_same_in_every_run(make_model, dtype):
    sizes = (5, 7, 4, 6)
    trie = Trie.from_codes(random_codes(600, sizes, 1))
    model = on("cuda", make_model(sizes), dtype)
    runs = [search(model, trie, *queries(8), 10, 10) for _ in range(3)]
    for found in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found, runs[0], strict=True))


def pair(make_model, codes, sizes):
    """The same model and trie on both devices."""
    trie = Trie.from_codes(codes)
    return [(on(device, make_model(sizes)), trie.to(device)) for device in DEVICES]


def found(model, trie, batch):
    ids, mask = (x.to(model.device) for x in batch)
    with torch.inference_mode():
        return [x.cpu() for x in beam_search(model, trie, model.encode(ids, mask), 10, 5)]


def test_graphs_that_return_in_later_searches(make_model):
    """Of batches of several sizes in turn, while the weights change in place, as they do in training."""
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = pair(make_model, random_codes(600, sizes, 1), sizes)
    for turn in range(3):
        for count, length in ((2, 7), (5, 20), (1, 7), (2, 18), (64, 80)):
            batch = queries(count, turn, length)
            assert_same(found(*gpu, batch), found(*cpu, batch))
        with torch.no_grad():
            for model, _ in (cpu, gpu):
                for weight in model.t5.parameters():
                    weight.mul_(1.05)


@pytest.mark.parametrize("level", [0, 2])
def test_levels_at_which_no_docids_part(make_model, level):
    sizes = (5, 7, 4, 6)
    codes = random_codes(300, sizes, 1)
    codes[:, level] = codes[:, :level].sum(1) % 4
    cpu, gpu = pair(make_model, codes, sizes)
    assert_same(found(*gpu, queries(3)), found(*cpu, queries(3)))


def test_searches_at_the_same_time(make_model):
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = pair(make_model, random_codes(600, sizes, 1), sizes)
    batches = [queries(1 + seed % 4, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda batch: found(*gpu, batch), batches))
    for batch, result in zip(batches, together, strict=True):
        assert_same(result, found(*cpu, batch))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_in_turn(make_model):
    sizes = (5, 7, 4, 6)
    trie, wanted = Trie.from_codes(random_codes(300, sizes, 1)), None
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        result = found(on(device, make_model(sizes)), trie.to(device), queries(3))
        wanted = wanted or result
        assert_same(result, wanted)


def waits(make_model, levels):
    """Of a search, the second one, over all docids of some levels: beams run out of docids at the end only."""
    sizes = (4,) * levels
    codes = np.stack(np.meshgrid(*[np.arange(4)] * levels, indexing="ij"), -1).reshape(-1, levels)
    trie, model = Trie.from_codes(codes).to("cuda"), on("cuda", make_model(sizes))
    ids, mask = (x.cuda() for x in queries(3))
    with torch.no_grad():
        encoded = model.encode(ids, mask)
    beam_search(model, trie, encoded, 3, 3)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            beam_search(model, trie, encoded, 3, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{x.filename}:{x.lineno}" for x in told if "synchroniz" in str(x.message)]


def test_a_gpu_is_waited_for_once_a_level(make_model):
    few, many = waits(make_model, 5), waits(make_model, 8)
    assert len(many) - len(few) == 3, (few, many)

"""Searches on a CUDA device find what searches on the CPU find, which other tests compare with brute force."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.model import DocidModel
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import random_codes, random_queries, random_text_docids

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ("cpu", "cuda")


def to_device(model, device, dtype=torch.float32):
    return DocidModel(deepcopy(model.t5).to(device, dtype), model.layout, model.softmax_over)


def search(model, trie, ids, mask, beams=10, k=5, documents=None, exact=False):
    """Search with a model and a trie on its device, among some documents if they are given.

    Returns the fields of a `BeamResult`, copied to the CPU.
    """
    device = model.device
    allowed = None if documents is None else trie.allowed_docids(documents).to(device)
    with torch.inference_mode():
        encoded = model.encode(ids.to(device), mask.to(device))
        return [x.cpu() for x in beam_search(model, trie, encoded, beams, k, allowed, exact)]


def assert_same(found, expected):
    """Leaves and scores must be equal, but docids whose scores differ by rounding may change places."""
    (leaves, scores), (expected_leaves, expected_scores) = found[:2], expected[:2]
    torch.testing.assert_close(scores, expected_scores, atol=1e-4, rtol=0)
    is_tie = (expected_scores[:, :-1] - expected_scores[:, 1:]).abs() < 1e-4
    may_move = torch.nn.functional.pad(is_tie, (1, 0)) | torch.nn.functional.pad(is_tie, (0, 1))
    assert torch.equal(leaves[~may_move], expected_leaves[~may_move])


def on_both_devices(model, codes):
    """A model and the trie of its docids on the CPU, and copies of both on the GPU."""
    trie = Trie.from_codes(codes)
    return [(to_device(model, device), trie.to(device)) for device in DEVICES]


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("beams", "k"), [(4, 4), (10, 5), (40, 10)])
@pytest.mark.parametrize("filtered", [True, False])
def test_searches_of_code_docids_find_the_same_on_both_devices(beams, k, exact, v10, filtered):
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes, v10=v10), random_codes(600, sizes, 1))
    documents = np.arange(0, 600, 3) if filtered else None
    result, expected = (search(*x, *random_queries(5), beams, k, documents, exact) for x in (gpu, cpu))
    assert_same(result, expected)
    if exact:
        assert result[2].all()


@pytest.mark.parametrize("exact", [True, False])
def test_searches_of_text_docids_find_the_same_on_both_devices(exact):
    cpu, gpu = on_both_devices(make_text_model(9), random_text_docids(300, 9, 2))
    assert_same(*(search(*x, *random_queries(3), 8, exact=exact) for x in (gpu, cpu)))


def test_an_exact_search_in_bf16_finds_the_best_of_float32_up_to_rounding():
    sizes = (5, 7, 4, 6)
    trie, (ids, mask) = Trie.from_codes(random_codes(300, sizes, 1)), random_queries(6)
    model = to_device(make_model(sizes), "cuda", torch.bfloat16)
    leaves, scores, exact, _ = search(model, trie.to("cuda"), ids, mask, 20, 10, exact=True)
    assert exact.all()
    model = make_model(sizes)
    with torch.no_grad():
        truth = model.sequence_logps(model.encode(ids, mask), trie.codes.long().expand(6, -1, -1))
    torch.testing.assert_close(scores, truth.gather(1, leaves), atol=0.3, rtol=0)
    assert ((truth.gather(1, leaves) - truth.topk(10, dim=1).values).abs() < 0.3).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_repeated_search_gives_identical_results(dtype):
    sizes = (5, 7, 4, 6)
    trie = Trie.from_codes(random_codes(600, sizes, 1)).to("cuda")
    model = to_device(make_model(sizes), "cuda", dtype)
    results = [search(model, trie, *random_queries(8), 10, 10) for _ in range(3)]
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


def test_graphs_are_reused_by_later_searches_while_weights_change_in_place():
    """This is the case of training. Batches of several sizes take turns."""
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes), random_codes(600, sizes, 1))
    for turn in range(3):
        for count, length in ((2, 7), (5, 20), (1, 7), (2, 18), (64, 80)):
            batch = random_queries(count, turn, length)
            assert_same(search(*gpu, *batch), search(*cpu, *batch))
        with torch.no_grad():
            for model, _ in (cpu, gpu):
                for weight in model.t5.parameters():
                    weight.mul_(1.05)


@pytest.mark.parametrize("level", [0, 2])
def test_levels_at_which_no_docids_branch_change_no_result(level):
    sizes = (5, 7, 4, 6)
    codes = random_codes(300, sizes, 1)
    codes[:, level] = codes[:, :level].sum(1) % 4
    cpu, gpu = on_both_devices(make_model(sizes), codes)
    assert_same(search(*gpu, *random_queries(3)), search(*cpu, *random_queries(3)))


def test_concurrent_searches_find_the_same_as_single_ones():
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes), random_codes(600, sizes, 1))
    batches = [random_queries(1 + seed % 4, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: search(*gpu, *batch), batches))
    for batch, result in zip(batches, results, strict=True):
        assert_same(result, search(*cpu, *batch))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_two_devices_find_the_same_in_turn():
    sizes = (5, 7, 4, 6)
    trie, expected = Trie.from_codes(random_codes(300, sizes, 1)), None
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        result = search(to_device(make_model(sizes), device), trie.to(device), *random_queries(3))
        expected = expected or result
        assert_same(result, expected)


def find_synchronisations(levels):
    """Find the places in the code at which the second search over all docids of some levels waits for the GPU.

    Since every code sequence is a docid, few docids are left below the beams only at the last levels.
    """
    codes = np.stack(np.meshgrid(*[np.arange(4)] * levels, indexing="ij"), -1).reshape(-1, levels)
    trie, model = Trie.from_codes(codes).to("cuda"), to_device(make_model((4,) * levels), "cuda")
    ids, mask = (x.cuda() for x in random_queries(3))
    with torch.no_grad():
        encoded = model.encode(ids, mask)
    beam_search(model, trie, encoded, 3, 3)
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            beam_search(model, trie, encoded, 3, 3)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return [f"{x.filename}:{x.lineno}" for x in caught if "synchroniz" in str(x.message)]


def test_a_search_synchronises_with_the_gpu_once_per_level():
    few, many = find_synchronisations(5), find_synchronisations(8)
    assert len(many) - len(few) == 3, (few, many)

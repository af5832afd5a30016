"""Searches on a CUDA device find what searches on the CPU find, which other tests compare with brute force."""

import warnings
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import numpy as np
import pytest
import torch

from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from genir.model import DocidModel
from genir.scoring.logps import document_logps
from genir.scoring.masses import Masses
from tests.helpers.models import make_model, make_text_model
from tests.helpers.search import random_codes, random_queries, random_text_docids

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
DEVICES = ("cpu", "cuda")
BOTH_SOFTMAXES = pytest.mark.parametrize("softmax_over", ["trie", "full"])


def to_device(model, device, dtype=torch.float32):
    return DocidModel(deepcopy(model.t5).to(device, dtype), model.layout, model.softmax_over)


def search(model, trie, ids, mask, beams=10, k=5, documents=None, exact=False):
    """Search with a model and a trie on its device, among some documents if they are given.

    With a softmax over the trie, a third of the documents, chosen at random, have expert scores. Returns the fields of
    a `BeamResult`, copied to the CPU.
    """
    device = model.device
    allowed = None if documents is None else trie.allow(documents).to(device)
    masses = make_masses(trie, len(ids), device, allowed) if model.softmax_over == "trie" else None
    with torch.inference_mode():
        encoded = model.encode(ids.to(device), mask.to(device))
        return [x.cpu() for x in beam_search(model, trie, encoded, beams, k, allowed, exact, masses=masses)]


def make_masses(trie, queries, device, allowed=None):
    """Masses from random scores of up to 9 nats, the same on every device."""
    rng = np.random.default_rng(queries)
    keys = np.flatnonzero(rng.random(queries * trie.size) < 0.3)
    scores = rng.random(len(keys)).astype(np.float32) * 9
    return Masses(trie, queries, torch.from_numpy(keys).to(device), torch.from_numpy(scores).to(device), allowed)


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


@BOTH_SOFTMAXES
@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("beams", "k"), [(4, 4), (10, 5), (40, 10)])
@pytest.mark.parametrize("filtered", [True, False])
def test_searches_of_code_docids_find_the_same_on_both_devices(beams, k, exact, v10, filtered, softmax_over):
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes, softmax_over, v10=v10), random_codes(600, sizes, 1))
    documents = np.arange(0, 600, 3) if filtered else None
    result, expected = (search(*x, *random_queries(5), beams, k, documents, exact) for x in (gpu, cpu))
    assert_same(result, expected)
    if exact:
        assert result[2].all()


@BOTH_SOFTMAXES
@pytest.mark.parametrize("exact", [True, False])
def test_searches_of_text_docids_find_the_same_on_both_devices(exact, softmax_over):
    model = make_text_model(9)
    model.softmax_over = softmax_over
    cpu, gpu = on_both_devices(model, random_text_docids(300, 9, 2))
    assert_same(*(search(*x, *random_queries(3), 8, exact=exact) for x in (gpu, cpu)))


@BOTH_SOFTMAXES
def test_an_exact_search_in_bf16_finds_the_best_of_float32_up_to_rounding(softmax_over):
    sizes = (5, 7, 4, 6)
    trie, (ids, mask) = Trie.from_codes(random_codes(300, sizes, 1)), random_queries(6)
    model = to_device(make_model(sizes, softmax_over), "cuda", torch.bfloat16)
    leaves, scores, exact, _ = search(model, trie.to("cuda"), ids, mask, 20, 10, exact=True)
    assert exact.all()
    model = make_model(sizes, softmax_over)
    with torch.no_grad():
        every = torch.arange(300).expand(6, -1)
        truth = document_logps(model, model.encode(ids, mask), trie, every, make_masses(trie, 6, "cpu"))
    torch.testing.assert_close(scores, truth.gather(1, leaves), atol=0.3, rtol=0)
    assert ((truth.gather(1, leaves) - truth.topk(10, dim=1).values).abs() < 0.3).all()


@BOTH_SOFTMAXES
def test_log_probs_and_gradients_of_documents_are_the_same_on_both_devices(softmax_over):
    sizes = (5, 7, 4, 6)
    found = []
    for model, trie in on_both_devices(make_model(sizes, softmax_over), random_codes(300, sizes, 1)):
        ids, mask = (x.to(model.device) for x in random_queries(4))
        leaves = torch.arange(0, 300, 9, device=model.device).expand(4, -1)
        masses = make_masses(trie, 4, model.device)
        logps = document_logps(model, model.encode(ids, mask), trie, leaves, masses)
        (gradient,) = torch.autograd.grad(logps.sum(), model.t5.lm_head.weight)
        found.append((logps.detach().cpu(), gradient.cpu()))
    torch.testing.assert_close(found[1], found[0], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_repeated_search_over_the_whole_vocabulary_gives_identical_results(dtype):
    sizes = (5, 7, 4, 6)
    trie = Trie.from_codes(random_codes(600, sizes, 1)).to("cuda")
    model = to_device(make_model(sizes, "full"), "cuda", dtype)
    results = [search(model, trie, *random_queries(8), 10, 10) for _ in range(3)]
    for result in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(result, results[0], strict=True))


@BOTH_SOFTMAXES
def test_graphs_are_reused_by_later_searches_while_weights_change_in_place(softmax_over):
    """This is the case of training. Batches of several sizes take turns."""
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes, softmax_over), random_codes(600, sizes, 1))
    for turn in range(3):
        for count, length in ((2, 7), (5, 20), (1, 7), (2, 18), (64, 80)):
            batch = random_queries(count, turn, length)
            assert_same(search(*gpu, *batch), search(*cpu, *batch))
        with torch.no_grad():
            for model, _ in (cpu, gpu):
                for weight in model.t5.parameters():
                    weight.mul_(1.05)


@BOTH_SOFTMAXES
@pytest.mark.parametrize("level", [0, 2])
def test_levels_at_which_no_docids_branch_change_no_result(level, softmax_over):
    sizes = (5, 7, 4, 6)
    codes = random_codes(300, sizes, 1)
    codes[:, level] = codes[:, :level].sum(1) % 4
    cpu, gpu = on_both_devices(make_model(sizes, softmax_over), codes)
    assert_same(search(*gpu, *random_queries(3)), search(*cpu, *random_queries(3)))


@BOTH_SOFTMAXES
def test_concurrent_searches_find_the_same_as_single_ones(softmax_over):
    sizes = (5, 7, 4, 6, 5)
    cpu, gpu = on_both_devices(make_model(sizes, softmax_over), random_codes(600, sizes, 1))
    batches = [random_queries(1 + seed % 4, seed) for seed in range(24)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda batch: search(*gpu, *batch), batches))
    for batch, result in zip(batches, results, strict=True):
        assert_same(result, search(*cpu, *batch))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@BOTH_SOFTMAXES
def test_two_devices_find_the_same_in_turn(softmax_over):
    sizes = (5, 7, 4, 6)
    trie, expected = Trie.from_codes(random_codes(300, sizes, 1)), None
    for device in ("cuda:0", "cuda:1", "cuda:0"):
        result = search(to_device(make_model(sizes, softmax_over), device), trie.to(device), *random_queries(3))
        expected = expected or result
        assert_same(result, expected)


def find_synchronisations(levels):
    """Find the places in the code at which the second search over the whole vocabulary waits for the GPU.

    Since every code sequence is a docid, few docids are left below the beams only at the last levels.
    """
    codes = np.stack(np.meshgrid(*[np.arange(4)] * levels, indexing="ij"), -1).reshape(-1, levels)
    trie, model = Trie.from_codes(codes).to("cuda"), to_device(make_model((4,) * levels, "full"), "cuda")
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


def test_a_search_over_the_whole_vocabulary_synchronises_with_the_gpu_once_per_level():
    few, many = find_synchronisations(5), find_synchronisations(8)
    assert len(many) - len(few) == 3, (few, many)

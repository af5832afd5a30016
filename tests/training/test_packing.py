"""Batches whose tensors are one block of memory."""

import numpy as np
import torch
from torch.utils.data import DataLoader

from genir.training.packing import pack, unpack

DTYPES = [torch.int64, torch.float32, torch.bool, torch.float64, torch.uint8, torch.bfloat16]


def make_batch(seed):
    """A batch with tensors of random types and shapes, some of them empty, in lists and dictionaries."""
    rng = np.random.default_rng(seed)

    def draw():
        shape = rng.integers(0, 5, rng.integers(0, 4)).tolist()
        dtype = DTYPES[rng.integers(len(DTYPES))]
        x = torch.from_numpy(np.asarray(rng.integers(-9, 9, shape))).to(dtype)
        return x.mT if x.ndim == 2 else x  # not contiguous

    groups = [{"a": draw(), "b": draw()} for _ in range(rng.integers(0, 4))]
    return {"position": draw(), "groups": groups, "name": "text", "count": 3}


def require_equal(found, expected):
    if isinstance(expected, torch.Tensor):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)
    elif isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name in expected:
            require_equal(found[name], expected[name])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for x, y in zip(found, expected, strict=True):
            require_equal(x, y)
    else:
        assert found == expected


def test_random_batches_are_the_same_after_unpacking():
    for seed in range(200):
        batch = make_batch(seed)
        require_equal(unpack(pack(batch)), batch)


def test_a_worker_process_hands_over_the_same_batch():
    loader = DataLoader(range(20), 5, collate_fn=lambda seeds: pack(make_batch(seeds[0])), num_workers=1)
    for number, packed in enumerate(loader):
        assert packed["block"].is_shared()
        require_equal(unpack(packed), make_batch(5 * number))

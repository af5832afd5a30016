"""Random queries, docids and models for decoding tests, and brute force over all docids."""

import numpy as np
import torch

from genir.docids.table import CodeLayout
from genir.model import DocidModel

EOS = 1


def queries(count, seed=0, length=7):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (count, length), generator=generator)
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids * mask, mask


def random_codes(count, sizes, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], 1)


def text_codes(count, longest, seed, vocabulary=20):
    """Random docids of unequal lengths that end with EOS; -1 after it."""
    rng = np.random.default_rng(seed)
    codes = np.full((count, longest), -1)
    for row, length in zip(codes, rng.integers(1, longest + 1, count), strict=True):
        row[: length - 1] = rng.integers(2, vocabulary, length - 1) // rng.integers(1, 4)
        row[: length - 1].clip(2, out=row[: length - 1])
        row[length - 1] = EOS
    return codes


def text_model(make_model, longest, **kwargs):
    t5 = make_model((20,), **kwargs).t5
    return DocidModel(t5, CodeLayout(0, (t5.config.vocab_size,) * longest, True), None)


def distinct(codes):
    return torch.from_numpy(np.unique(codes, axis=0))


def brute_force(model, codes, encoded):
    """Score every distinct docid, then sort: numbers of the docids in docid order, and scores, best first; [B, U]."""
    with torch.no_grad():
        logps = model.sequence_logps(encoded, distinct(codes).expand(len(encoded.states), -1, -1))
    order = logps.sort(dim=1, descending=True, stable=True)
    return order.indices, order.values


def assert_same(result, leaves, scores):
    """The same docids in the same order; those whose scores differ by rounding alone may change places."""
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    for got, wanted, values in zip(result.leaves.tolist(), leaves.tolist(), scores.tolist(), strict=True):
        for place, (a, b) in enumerate(zip(got, wanted, strict=True)):
            assert a == b or min(abs(values[place] - x) for i, x in enumerate(values) if i != place) < 1e-4

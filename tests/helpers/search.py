"""Random queries and docids for tests of decoding, and brute force over all docids."""

import numpy as np
import torch

EOS = 1


def random_queries(count, seed=0, length=7):
    """Token ids and mask [count, length] of queries of unequal lengths."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (count, length), generator=generator)
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids * mask, mask


def random_codes(count, sizes, seed):
    """Docids [count, levels] of one code per codebook size; some may be equal."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], 1)


def random_text_docids(count, longest, seed, vocab_size=20):
    """Docids [count, longest] of unequal lengths that end with EOS, and -1 after it."""
    rng = np.random.default_rng(seed)
    codes = np.full((count, longest), -1)
    for docid, length in zip(codes, rng.integers(1, longest + 1, count), strict=True):
        docid[: length - 1] = rng.integers(2, vocab_size, length - 1) // rng.integers(1, 4)
        docid[: length - 1].clip(2, out=docid[: length - 1])
        docid[length - 1] = EOS
    return codes


def distinct(codes):
    """The distinct docids in lexicographic order, as a tensor: docid number i of a trie is at index i."""
    return torch.from_numpy(np.unique(codes, axis=0))


def brute_force(model, codes, encoded):
    """Score every distinct docid, then sort: numbers of the docids and their scores, best first, [B, U] each."""
    with torch.no_grad():
        logps = model.sequence_logps(encoded, distinct(codes).expand(len(encoded.states), -1, -1))
    order = logps.sort(dim=1, descending=True, stable=True)
    return order.indices, order.values


def assert_same_ranking(result, leaves, scores):
    """The docids must be the same in the same order, but those whose scores differ by rounding may change places."""
    torch.testing.assert_close(result.scores, scores, atol=1e-4, rtol=0)
    for got, expected, values in zip(result.leaves.tolist(), leaves.tolist(), scores.tolist(), strict=True):
        for rank, (a, b) in enumerate(zip(got, expected, strict=True)):
            assert a == b or min(abs(values[rank] - x) for i, x in enumerate(values) if i != rank) < 1e-4

"""Decoding against brute force over all docids, against Hugging Face, and properties on random tries and models."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.beam import beam_search
from genir.model import Encoded
from genir.trie import Trie


def queries(count, seed=0, length=7):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(3, 20, (count, length), generator=generator)
    lengths = torch.randint(2, length + 1, (count, 1), generator=generator)
    mask = (torch.arange(length) < lengths).long()
    return ids * mask, mask


def random_codes(count, sizes, seed):
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, size, count) for size in sizes], 1)


def brute_force(model, codes, encoded, k):
    """Score every distinct docid, then sort: (docids [B][k], scores [B][k]); ties by docid."""
    docids = sorted({tuple(row) for row in codes.tolist()})
    tensor = torch.tensor(docids).expand(len(encoded.states), -1, -1)
    with torch.no_grad():
        logps = model.sequence_logps(encoded, tensor)
    order = logps.sort(dim=1, descending=True, stable=True)
    return [[docids[i] for i in row[:k]] for row in order.indices.tolist()], order.values[:, :k]


def decoded(trie, codes, result):
    def docid(leaf):
        return tuple(codes[trie.documents(leaf)[0]].tolist())

    return [[docid(leaf) for leaf in row if leaf >= 0] for row in result.leaves.tolist()], result.scores


@pytest.mark.parametrize("v10", [True, False])
@pytest.mark.parametrize("normalize", ["level", "full"])
@pytest.mark.parametrize("sizes", [(9,), (4, 4), (3, 4, 2, 5)])
def test_with_as_many_beams_as_docids_it_equals_scoring_every_docid(make_model, sizes, normalize, v10):
    model = make_model(sizes, normalize, v10)
    codes = random_codes(25, sizes, 1)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(5))
    wanted, scores = brute_force(model, codes, encoded, trie.size)
    docids, got = decoded(trie, codes, beam_search(model, trie, encoded, trie.size, trie.size))
    assert docids == wanted
    torch.testing.assert_close(got, scores, atol=1e-5, rtol=1e-6)


@pytest.mark.parametrize("beams", [2, 3, 10])
def test_it_equals_hugging_face_generate_with_a_prefix_callback(make_model, beams):
    """Same docids in the same order and the same scores, with fewer beams than docids (full normalisation)."""
    sizes = (4, 4, 4)
    model = make_model(sizes, "full")
    codes = np.unique(random_codes(40, sizes, 2), axis=0)
    trie = Trie.from_codes(codes)
    tokens = model.tokens(torch.from_numpy(codes)).tolist()
    ids, mask = queries(4)

    def allowed(batch, written):
        prefix = written.tolist()[1:]
        return sorted({row[len(prefix)] for row in tokens if row[: len(prefix)] == prefix}) or [1]

    output = model.t5.generate(
        input_ids=ids, attention_mask=mask, num_beams=beams, num_return_sequences=beams, max_new_tokens=3,
        min_new_tokens=3, length_penalty=0.0, prefix_allowed_tokens_fn=allowed, return_dict_in_generate=True,
        output_scores=True, early_stopping=True, do_sample=False,
    )  # fmt: skip
    result = beam_search(model, trie, model.encode(ids, mask), beams, beams)
    got = [[tokens[leaf] for leaf in row] for row in result.leaves.tolist()]
    assert [row for query in got for row in query] == output.sequences[:, 1:].tolist()
    torch.testing.assert_close(result.scores.flatten(), output.sequences_scores, atol=1e-4, rtol=0)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 30), st.integers(1, 12), st.integers(1, 12))
def test_it_never_writes_an_invalid_or_doubled_docid(seed, levels, count, beams, k):
    rng = np.random.default_rng(seed)
    sizes = tuple(int(size) for size in rng.integers(1, 5, levels))
    model = _model(sizes, seed)
    codes = random_codes(count, sizes, seed)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(3, seed))
    docids, scores = decoded(trie, codes, beam_search(model, trie, encoded, beams, k))
    valid = {tuple(row) for row in codes.tolist()}
    for row, values in zip(docids, scores, strict=True):
        assert set(row) <= valid
        assert len(set(row)) == len(row) == min(k, beams, len(valid))
        found = values[: len(row)]
        assert (found[:-1] >= found[1:]).all()
        assert found.isfinite().all()


def _model(sizes, seed):
    import conftest

    return conftest.make_model.__wrapped__()(sizes, seed=seed)


def test_fewer_docids_than_beams_gives_all_docids(make_model):
    model = make_model((3, 3))
    codes = np.array([[0, 1], [2, 2]])
    trie = Trie.from_codes(codes)
    result = beam_search(model, trie, model.encode(*queries(2)), 50, 10)
    assert [sorted(row) for row in result.leaves.tolist()] == [[0, 1], [0, 1]]


def test_batches_and_order_of_queries_change_nothing(make_model):
    model = make_model((4, 4, 4))
    codes = random_codes(50, (4, 4, 4), 3)
    trie = Trie.from_codes(codes)
    ids, mask = queries(6)
    together = beam_search(model, trie, model.encode(ids, mask), 8, 8)
    for b in range(6):
        length = int(mask[b].sum())
        alone = beam_search(model, trie, model.encode(ids[b : b + 1, :length], mask[b : b + 1, :length]), 8, 8)
        assert alone.leaves[0].tolist() == together.leaves[b].tolist()
        torch.testing.assert_close(alone.scores[0], together.scores[b], atol=1e-5, rtol=0)


def test_ties_go_to_the_smaller_docid_at_every_width(make_model):
    """A model that cannot tell codes apart gives every docid the same score."""
    model = make_model((3, 3))
    with torch.no_grad():
        model.t5.lm_head.weight.zero_()
    codes = random_codes(9, (3, 3), 5)
    trie = Trie.from_codes(codes)
    encoded = model.encode(*queries(2))
    for beams in (1, 2, 3, 9):
        result = beam_search(model, trie, Encoded(*encoded), beams, beams)
        kept = min(beams, trie.size)
        assert result.leaves[:, :kept].tolist() == [list(range(kept))] * 2

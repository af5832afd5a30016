"""The decoder over kept keys and values, against Hugging Face's whole model on whole sequences."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.t5.kv_cache import Past
from genir.t5.ragged import Shares

CPU = torch.device("cpu")


@pytest.fixture(params=[4, 6], ids=["short", "long"])
def inputs(request):
    """Of sources up to 4 tokens the small model takes shorter keys and values."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 20, (3, request.param), generator=generator)
    mask = (torch.arange(request.param) < torch.tensor([[request.param], [2], [3]])).long()
    return ids * mask, mask


def states(model, ids, mask, tokens):
    """Decoder states after a sequence of tokens, by Hugging Face."""
    output = model.t5(
        input_ids=ids[None], attention_mask=mask[None], decoder_input_ids=torch.tensor([tokens]),
        output_hidden_states=True,
    )  # fmt: skip
    return model._scaled(output.decoder_hidden_states[-1][0])


@pytest.mark.parametrize("v10", [True, False])
def test_tokens_that_follow_others_get_the_states_of_the_whole_sequence(make_model, inputs, v10):
    """Partial docids of three queries branch, go on by unequal pieces, and one of them stops: no cache is reordered."""
    model = make_model((9, 9, 9, 9), v10=v10)
    past = Past(model.t5)
    with torch.no_grad():
        memory = model.remember(model.encode(*inputs))
        assert (memory.short is None) == (inputs[0].shape[1] > 4)
        tokens = torch.tensor([[0]] * 3)
        _, rows = model.extend(memory, Shares.of([1, 1, 1], CPU), past, tokens, torch.empty(3, 0).long())
        paths = {query: rows[query].tolist() for query in range(3)}
        grown = [(0, [0, 5, 7]), (0, [0, 6, 8]), (2, [0, 4, 4])]  # query 0 branches, query 1 stops
        before = torch.tensor([paths[query] for query, _ in grown])
        hidden, rows = model.extend(
            memory, Shares.of([2, 0, 1], CPU), past, torch.tensor([x[1:] for _, x in grown]), before
        )
        for (query, sequence), got in zip(grown, hidden, strict=True):
            wanted = states(model, inputs[0][query], inputs[1][query], sequence)
            torch.testing.assert_close(got, wanted[1:], atol=1e-5, rtol=1e-5)
        mixed = [(0, [0, 5, 7, 20, 21]), (0, [0, 30, 31]), (2, [0, 4, 4, 9, 9])]  # pasts of unequal length
        before = torch.tensor([[*paths[0], *rows[0].tolist()], [*paths[0], -1, -1], [*paths[2], *rows[2].tolist()]])
        hidden, _ = model.extend(
            memory, Shares.of([2, 0, 1], CPU), past, torch.tensor([x[-2:] for _, x in mixed]), before
        )
        for (query, sequence), got in zip(mixed, hidden, strict=True):
            wanted = states(model, inputs[0][query], inputs[1][query], sequence)
            torch.testing.assert_close(got, wanted[-2:], atol=1e-5, rtol=1e-5)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any))
def test_rows_go_into_a_matrix_and_back(counts):
    shares = Shares.of(counts, CPU)
    flat = torch.arange(1, sum(counts) + 1)
    matrix = shares.matrix(flat, 0)
    assert [[x for x in row if x] for row in matrix.tolist()] == [
        flat[sum(counts[:i]) : sum(counts[: i + 1])].tolist() for i in range(len(counts))
    ]
    assert torch.equal(shares.flat(matrix), flat)

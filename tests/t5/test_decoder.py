"""The decoder against Hugging Face's model, which runs each sequence whole."""

import pytest
import torch

from genir.t5 import decoder
from genir.t5.cross_attention import precompute_cross_attention
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout
from tests.helpers.models import make_model

CPU = torch.device("cpu")


@pytest.fixture(params=[4, 6], ids=["folded", "not folded"])
def inputs(request):
    """Three queries; sources of at most 4 tokens have folded cross-attention projections in the small model."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(3, 20, (3, request.param), generator=generator)
    mask = (torch.arange(request.param) < torch.tensor([[request.param], [2], [3]])).long()
    return ids * mask, mask


def hugging_face_states(t5, ids, mask, tokens):
    """Hugging Face's decoder states [T, D] after the tokens, for one query."""
    output = t5(
        input_ids=ids[None], attention_mask=mask[None], decoder_input_ids=torch.tensor([tokens]),
        output_hidden_states=True,
    )  # fmt: skip
    return output.decoder_hidden_states[-1][0]


def assert_states_are_those_of_whole_sequences(t5, inputs, sequences, states):
    """Compare the states [n, T, D] after the last T tokens of n sequences, given as (query, tokens)."""
    for (query, tokens), got in zip(sequences, states, strict=True):
        expected = hugging_face_states(t5, inputs[0][query], inputs[1][query], tokens)
        torch.testing.assert_close(got, expected[-len(got) :], atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("v10", [True, False])
def test_candidates_that_are_decoded_together_get_the_states_of_hugging_face(inputs, v10):
    model = make_model((9, 9, 9, 9), v10=v10)
    tokens = torch.randint(0, 40, (3, 2, 5), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        cache = precompute_cross_attention(model.t5, *model.encode(*inputs))
        states = decoder.decode(model.t5, cache, tokens)
        for query in range(3):
            sequences = [(query, candidate) for candidate in tokens[query].tolist()]
            assert_states_are_those_of_whole_sequences(model.t5, inputs, sequences, states[query])


@pytest.mark.slow
@pytest.mark.parametrize("v10", [True, False])
def test_tokens_that_extend_cached_ones_get_the_states_of_the_whole_sequence(inputs, v10):
    """Beams of a query branch, one query has no beams, and past sequences have unequal lengths."""
    model = make_model((9, 9, 9, 9), v10=v10)
    kv_cache, t5 = KVCache(model.t5), model.t5

    def extend(lengths, tokens, past_slots):
        layout = RaggedLayout.from_lengths(lengths, CPU)
        return decoder.extend(t5, cross_cache, layout, kv_cache, torch.tensor(tokens), past_slots)

    with torch.no_grad():
        cross_cache = precompute_cross_attention(t5, *model.encode(*inputs))
        _, start = extend([1, 1, 1], [[0]] * 3, torch.empty(3, 0).long())
        first = [(0, [0, 5, 7]), (0, [0, 6, 8]), (2, [0, 4, 4])]
        past_slots = start[[query for query, _ in first]]
        states, slots = extend([2, 0, 1], [tokens[1:] for _, tokens in first], past_slots)
        assert_states_are_those_of_whole_sequences(t5, inputs, first, states)

        second = [(0, [0, 5, 7, 20, 21]), (0, [0, 30, 31]), (2, [0, 4, 4, 9, 9])]
        ends = torch.stack([slots[0], torch.tensor([-1, -1]), slots[2]])  # the second one extends the start token only
        past_slots = torch.cat([start[[query for query, _ in second]], ends], 1)
        states, _ = extend([2, 0, 1], [tokens[-2:] for _, tokens in second], past_slots)
        assert_states_are_those_of_whole_sequences(t5, inputs, second, states)

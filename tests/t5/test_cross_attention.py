"""Cross-attention, with and without folded projections, against the layer of Hugging Face."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.t5.attention import decoder_blocks
from genir.t5.cross_attention import cross_attend, mask_to_bias, precompute_cross_attention
from genir.t5.ragged import RaggedLayout
from tests.helpers.models import make_model
from tests.helpers.search import random_queries

CPU = torch.device("cpu")


@torch.no_grad()
def encode(model, queries, length):
    ids, mask = random_queries(queries, 0, length)
    return model.encode(ids, mask)


@pytest.mark.slow
@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).filter(any), st.integers(1, 3), st.sampled_from([4, 7]))
def test_cross_attention_equals_the_layer_of_hugging_face_for_ragged_rows(lengths, tokens, source):
    """Sources of at most 4 tokens have folded projections in this small model; both forms must agree."""
    model = make_model((4,))
    states, mask = encode(model, len(lengths), source)
    layout = RaggedLayout.from_lengths(lengths, CPU)
    normed = torch.randn(sum(lengths), tokens, 16, generator=torch.Generator().manual_seed(sum(lengths)))
    with torch.no_grad():
        cache = precompute_cross_attention(model.t5, states, mask)
        assert (cache.folded is not None) == (source == 4)
        for layer, block in enumerate(decoder_blocks(model.t5)):
            attention = block.layer[1].EncDecAttention
            bias = mask_to_bias(mask, states.dtype)[layout.query]
            expected = attention(normed, mask=bias, key_value_states=states[layout.query])[0]
            for one in (cache, cache._replace(folded=None)):
                result = cross_attend(attention, normed, one, layer, layout)
                torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-4)


def test_projections_are_folded_only_for_short_sources_and_without_training():
    model = make_model((4,))  # two heads and a width of 16: folded up to 4 source tokens
    with torch.no_grad():
        assert precompute_cross_attention(model.t5, *encode(model, 2, 4)).folded is not None
        assert precompute_cross_attention(model.t5, *encode(model, 2, 5)).folded is None
    assert precompute_cross_attention(model.t5, *encode(model, 2, 4)).folded is None  # gradients are enabled
    model.t5.train()
    with torch.no_grad():
        assert precompute_cross_attention(model.t5, *encode(model, 2, 4)).folded is None


@pytest.mark.parametrize("length", [4, 7])
def test_states_at_padding_of_the_source_have_no_influence(length):
    model = make_model((4,))
    states, mask = encode(model, 3, length)
    changed = torch.where(mask[..., None] == 0, 100.0, states)
    layout = RaggedLayout.uniform(3, 2, CPU)
    normed = torch.randn(6, 1, 16, generator=torch.Generator().manual_seed(0))
    attention = decoder_blocks(model.t5)[0].layer[1].EncDecAttention
    with torch.no_grad():
        results = [
            cross_attend(attention, normed, precompute_cross_attention(model.t5, x, mask), 0, layout)
            for x in (states, changed)
        ]
    assert (mask == 0).any()
    torch.testing.assert_close(results[0], results[1])

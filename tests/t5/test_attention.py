"""Attention and layers against plain math, and against the layers of Hugging Face."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from genir.t5.attention import attend, decoder_blocks, linear, norm, split_heads
from tests.helpers.models import make_model


def self_attention():
    return decoder_blocks(make_model((4,)).t5)[0].layer[0].SelfAttention


def test_attention_is_a_softmax_over_unscaled_products_plus_bias():
    attention = self_attention()
    heads, width = attention.n_heads, attention.key_value_proj_dim
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, heads, count, width, generator=generator) for count in (3, 4, 4))
    bias = torch.randn(1, heads, 3, 4, generator=generator)
    result = attend(attention, query, key, value, bias)
    for n in range(2):
        for h in range(heads):
            for t in range(3):
                logits = [
                    sum(a * b for a, b in zip(query[n, h, t].tolist(), key[n, h, c].tolist(), strict=True))
                    + bias[0, h, t, c].item()
                    for c in range(4)
                ]
                weights = [math.exp(x) / sum(map(math.exp, logits)) for x in logits]
                expected = [sum(w * value[n, h, c, e].item() for c, w in enumerate(weights)) for e in range(width)]
                assert result[n, t, h * width : (h + 1) * width].tolist() == pytest.approx(expected, abs=1e-5)


def test_attention_with_its_projections_equals_the_layer_of_hugging_face():
    attention = self_attention()
    states = torch.randn(3, 5, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.full((5, 5), -1e9).triu(1)[None, None]
    with torch.no_grad():
        expected = attention(states, mask=mask)[0]
        query, key, value = (split_heads(attention, linear(x, states)) for x in (attention.q, attention.k, attention.v))
        bias = attention.compute_bias(5, 5) + mask
        result = linear(attention.o, attend(attention, query, key, value, bias))
    torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 20), st.integers(1, 3), st.booleans())
def test_a_linear_layer_is_a_product_with_its_weight_for_any_number_of_states(count, tokens, with_gradients):
    generator = torch.Generator().manual_seed(count)
    layer, states = nn.Linear(6, 9, bias=False), torch.randn(count, tokens, 6, generator=generator)
    with torch.set_grad_enabled(with_gradients):
        result = linear(layer, states)
    assert result.requires_grad == with_gradients
    torch.testing.assert_close(result, torch.einsum("ntd,od->nto", states, layer.weight), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("with_gradients", [True, False])
def test_the_norm_divides_by_the_root_mean_square_without_subtracting_a_mean(with_gradients):
    layer_norm = decoder_blocks(make_model((4,)).t5)[0].layer[0].layer_norm
    layer_norm.weight.data.uniform_(0.5, 2)
    states = 3 + torch.randn(2, 4, 16, generator=torch.Generator().manual_seed(0))
    with torch.set_grad_enabled(with_gradients):
        result = norm(layer_norm, states)
    for position in ((0, 0), (1, 3)):
        values = states[position].tolist()
        root = math.sqrt(sum(x * x for x in values) / len(values) + layer_norm.variance_epsilon)
        expected = [x / root * w for x, w in zip(values, layer_norm.weight.tolist(), strict=True)]
        assert result[position].tolist() == pytest.approx(expected, rel=1e-5)


def test_heads_are_consecutive_slices_of_the_last_dimension():
    attention = self_attention()
    width = attention.key_value_proj_dim
    states = torch.arange(2 * 3 * attention.inner_dim).view(2, 3, attention.inner_dim)
    heads = split_heads(attention, states)
    for head in range(attention.n_heads):
        assert torch.equal(heads[:, head], states[..., head * width : (head + 1) * width])

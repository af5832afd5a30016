"""T5's decoder with many candidates a query: the query's cross-attention keys and values are made once and shared.

It runs the layers of a Hugging Face model and gives what that model gives; only the attention is arranged anew.
Shapes: B queries, N candidates, T decoder tokens, S source tokens, D model width, H heads, E width of a head.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5ForConditionalGeneration


class Memory(NamedTuple):
    """What the decoder attends to: keys, values [B, H, S, E] of each layer, and bias [B, 1, 1, S], 0 or -inf."""

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor


def remember(t5: T5ForConditionalGeneration, states: Tensor, mask: Tensor) -> Memory:
    """Cross-attention keys and values of encoder states [B, S, D] with mask [B, S]."""
    layers = [block.layer[1].EncDecAttention for block in _blocks(t5)]
    bias = states.new_zeros(mask.shape).masked_fill(mask == 0, torch.finfo(states.dtype).min)[:, None, None]
    return Memory([_heads(x, x.k(states)) for x in layers], [_heads(x, x.v(states)) for x in layers], bias)


def decode(t5: T5ForConditionalGeneration, memory: Memory, tokens: Tensor) -> Tensor:
    """Decoder states [B, N, T, D] after the tokens [B, N, T], before the head."""
    decoder: Any = t5.decoder
    hidden: Tensor
    queries, candidates, length = tokens.shape
    hidden = decoder.dropout(decoder.embed_tokens(tokens.reshape(-1, length)))
    own = _self_bias(t5, length, hidden)
    for number, block in enumerate(_blocks(t5)):
        first, cross, feed = block.layer
        attention, normed = first.SelfAttention, first.layer_norm(hidden)
        query, key, value = (_heads(attention, project(normed)) for project in (attention.q, attention.k, attention.v))
        hidden = hidden + first.dropout(attention.o(_attend(attention, query, key, value, own)))
        attention, normed = cross.EncDecAttention, cross.layer_norm(hidden)
        query = _heads(attention, attention.q(normed.view(queries, candidates * length, -1)))
        seen = _attend(attention, query, memory.keys[number], memory.values[number], memory.bias)
        hidden = hidden + cross.dropout(attention.o(seen).view_as(hidden))
        hidden = feed(hidden)
    hidden = decoder.dropout(decoder.final_layer_norm(hidden))
    return hidden.view(queries, candidates, length, -1)


def _blocks(t5: T5ForConditionalGeneration) -> Any:
    return t5.decoder.block


def _heads(attention: Any, flat: Tensor) -> Tensor:
    """[n, T, H * E] -> [n, H, T, E]."""
    return flat.view(len(flat), -1, attention.n_heads, attention.key_value_proj_dim).transpose(1, 2)


def _self_bias(t5: T5ForConditionalGeneration, length: int, like: Tensor) -> Tensor:
    """Relative position bias of the first layer, which all layers use, and -inf above the diagonal: [1, H, T, T]."""
    bias: Tensor = _blocks(t5)[0].layer[0].SelfAttention.compute_bias(length, length, device=like.device)
    future = torch.ones(length, length, dtype=torch.bool, device=like.device).triu(1)
    return bias.masked_fill(future, torch.finfo(like.dtype).min)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """T5 does not scale: softmax(q k + bias) v, heads joined again: [n, T, H * E]."""
    weights = (query @ key.transpose(-1, -2) + bias).float().softmax(-1).type_as(query)
    weights = functional.dropout(weights, attention.dropout, attention.training)
    joined = (weights @ value).transpose(1, 2)
    return joined.reshape(*joined.shape[:2], attention.inner_dim)

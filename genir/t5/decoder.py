"""T5's decoder for many partial docids of each query at once.

The cross-attention keys and values of a query are computed once and shared by all its hypotheses, and the
self-attention keys and values of each token are stored once and shared by all hypotheses that extend it. The functions
run the layers of a Hugging Face model, and their results equal that model's; only the attention is computed
differently.

Shapes: B queries, N candidates, n decoder rows, T decoder tokens, P tokens before them, C = P + T, S source tokens,
D model width, H heads, E width of a head.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers import T5ForConditionalGeneration

from genir.t5.attention import attend, decoder_blocks, linear, norm, split_heads
from genir.t5.cross_attention import CrossAttentionCache, cross_attend
from genir.t5.cuda_graphs import MAX_GRAPH_TOKENS, round_up
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout

_AFTER_ALL_OTHERS = 1 << 30
"""A position after every real one, so that no token attends to it."""


def decode(t5: T5ForConditionalGeneration, cross_cache: CrossAttentionCache, tokens: Tensor) -> Tensor:
    """Run the decoder on the tokens [B, N, T] of N candidates per query: states [B, N, T, D], before the head."""
    queries, candidates, length = tokens.shape
    bias = _causal_bias(t5, length)

    def self_attend(layer: int, attention: Any, normed: Tensor) -> Tensor:
        query, key, value = (
            split_heads(attention, linear(project, normed)) for project in (attention.q, attention.k, attention.v)
        )
        return attend(attention, query, key, value, bias)

    layout = RaggedLayout.from_lengths([candidates] * queries, tokens.device)
    states = _run_blocks(t5, cross_cache, tokens.flatten(0, 1), layout, self_attend)
    return states.view(queries, candidates, length, -1)


def extend(
    t5: T5ForConditionalGeneration,
    cross_cache: CrossAttentionCache,
    layout: RaggedLayout,
    kv_cache: KVCache,
    tokens: Tensor,
    past_slots: Tensor,
) -> tuple[Tensor, Tensor]:
    """Run T more tokens of n partial docids, whose earlier tokens are in the KV cache.

    tokens [n, T]. past_slots [n, P]: slots of the earlier tokens, followed by -1 if there are fewer than P.
    Returns the decoder states [n, T, D] of the tokens, before the head, and the slots [n, T] that now hold the tokens.
    """
    # A larger cross-attention cache gets new memory in each search (see `DocidModel.precompute_cross_attention`), so
    # that no later search could use graphs that read it.
    is_reused = cross_cache.bias.numel() <= MAX_GRAPH_TOKENS
    padded_tokens = layout.num_queries * layout.width * tokens.shape[1]
    if kv_cache.graphs is not None and is_reused and padded_tokens <= MAX_GRAPH_TOKENS:
        return _extend_by_graph(t5, cross_cache, layout, kv_cache, tokens, past_slots)
    allocated = kv_cache.allocate(tokens.numel())
    slots = torch.arange(allocated.start, allocated.stop, device=tokens.device).view(tokens.shape)
    return _extend(t5, cross_cache, layout, kv_cache, tokens, past_slots, slots), slots


def _extend(
    t5: T5ForConditionalGeneration,
    cross_cache: CrossAttentionCache,
    layout: RaggedLayout,
    kv_cache: KVCache,
    tokens: Tensor,
    past_slots: Tensor,
    slots: Tensor,
) -> Tensor:
    """Do the work of `extend`, with slots [n, T] that have been allocated for the tokens."""
    length = tokens.shape[1]
    context = torch.cat([past_slots, slots], 1)
    start = (past_slots >= 0).sum(1, keepdim=True)
    positions = torch.arange(past_slots.shape[1], device=tokens.device).expand_as(past_slots)
    positions = positions.masked_fill(past_slots < 0, _AFTER_ALL_OTHERS)
    positions = torch.cat([positions, start + torch.arange(length, device=tokens.device)], 1)
    bias = _bias_at_positions(t5, positions, length)
    context = context.clamp(min=0)

    def self_attend(layer: int, attention: Any, normed: Tensor) -> Tensor:
        kv_cache.write(layer, slots, linear(attention.k, normed), linear(attention.v, normed))
        keys, values = kv_cache.read(layer, context)
        query = split_heads(attention, linear(attention.q, normed))
        if query.is_cuda and query.dtype == torch.float32:
            return attend(attention, query, keys, values, bias)  # takes 0.4 of the time of torch's kernel at 13 tokens
        attended = functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=1.0)
        return attended.transpose(1, 2).flatten(2)

    return _run_blocks(t5, cross_cache, tokens, layout, self_attend)


def _extend_by_graph(
    t5: T5ForConditionalGeneration,
    cross_cache: CrossAttentionCache,
    layout: RaggedLayout,
    kv_cache: KVCache,
    tokens: Tensor,
    past_slots: Tensor,
) -> tuple[Tensor, Tensor]:
    """Do the work of `extend` by a CUDA graph.

    The numbers of rows per query, of tokens, and of earlier tokens are rounded up by padding, so that few different
    shapes occur.
    """
    length = tokens.shape[1]
    padded = RaggedLayout.uniform(layout.num_queries, round_up(layout.width, 16), tokens.device)
    row = layout.query * padded.width + layout.column
    padded_tokens = tokens.new_zeros((padded.num_queries * padded.width, round_up(length, 4)))
    padded_tokens[row, :length] = tokens
    padded_past = past_slots.new_full((len(padded_tokens), round_up(past_slots.shape[1], 8)), -1)
    padded_past[row, : past_slots.shape[1]] = past_slots
    allocated = kv_cache.allocate(padded_tokens.numel())
    slots = torch.arange(allocated.start, allocated.stop, device=tokens.device).view(padded_tokens.shape)

    # The cache refers to its graphs. If they also referred to it, its memory would not be freed immediately.
    cache_proxy: Any = weakref.proxy(kv_cache)

    def run(*arguments: Tensor) -> Tensor:
        return _extend(t5, cross_cache, padded, cache_proxy, *arguments)

    assert kv_cache.graphs is not None
    states = kv_cache.graphs(("extend", id(cross_cache)), run, padded_tokens, padded_past, slots)
    return states[row, :length], slots[row, :length]


def _run_blocks(
    t5: T5ForConditionalGeneration,
    cross_cache: CrossAttentionCache,
    tokens: Tensor,
    layout: RaggedLayout,
    self_attend: Callable[[int, Any, Tensor], Tensor],
) -> Tensor:
    """Run all blocks of the decoder: tokens [n, T] -> states [n, T, D].

    self_attend(layer, attention, normed [n, T, D]) -> [n, T, H * E] computes the self-attention of a layer.
    """
    decoder: Any = t5.decoder
    states: Tensor = decoder.dropout(decoder.embed_tokens(tokens))

    def run_block(number: int, block: Any, states: Tensor) -> Tensor:
        own, cross, feed_forward = block.layer
        attention = own.SelfAttention
        attended = self_attend(number, attention, norm(own.layer_norm, states))
        states = states + own.dropout(linear(attention.o, attended))
        attended = cross_attend(cross.EncDecAttention, norm(cross.layer_norm, states), cross_cache, number, layout)
        states = states + cross.dropout(attended)
        output = _feed_forward(feed_forward.DenseReluDense, norm(feed_forward.layer_norm, states))
        result: Tensor = states + feed_forward.dropout(output)
        return result

    for number, block in enumerate(decoder_blocks(t5)):
        if block.gradient_checkpointing and block.training:  # as in the layers of transformers
            states = checkpoint(run_block, number, block, states, use_reentrant=False)
        else:
            states = run_block(number, block, states)
    result: Tensor = decoder.dropout(norm(decoder.final_layer_norm, states))
    return result


def _feed_forward(dense: Any, states: Tensor) -> Tensor:
    """Apply the feed-forward network of T5 v1.0, or the gated one of v1.1."""
    if hasattr(dense, "wi"):
        inner = dense.act(linear(dense.wi, states))
    else:
        inner = dense.act(linear(dense.wi_0, states)) * linear(dense.wi_1, states)
    return linear(dense.wo, dense.dropout(inner))


def _causal_bias(t5: T5ForConditionalGeneration, length: int) -> Tensor:
    """Compute the relative position bias, which is that of the first layer for all layers, with a causal mask.

    Returns [1, H, T, T].
    """
    attention = decoder_blocks(t5)[0].layer[0].SelfAttention
    bias: Tensor = attention.compute_bias(length, length, device=t5.device)
    future = torch.ones(length, length, dtype=torch.bool, device=bias.device).triu(1)
    return bias.masked_fill(future, torch.finfo(bias.dtype).min)


def _bias_at_positions(t5: T5ForConditionalGeneration, positions: Tensor, length: int) -> Tensor:
    """Compute the causal bias of the last `length` of C tokens, which are at positions [n, C]: [n, H, length, C]."""
    by_distance = _causal_bias(t5, positions.shape[1])[0, :, -1].flip(-1)
    distance = positions[:, -length:, None] - positions[:, None]
    bias = by_distance[:, distance.clamp(min=0)].transpose(0, 1)
    return bias.masked_fill((distance < 0).unsqueeze(1), torch.finfo(bias.dtype).min)

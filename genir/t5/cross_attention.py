"""Cross-attention of T5's decoder, with keys and values computed once per query and shared by all its hypotheses.

Shapes: B queries, n decoder rows, T decoder tokens, S source tokens, D model width, H heads, E width of a head.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from genir.t5.attention import attend, decoder_blocks, linear, split_heads
from genir.t5.ragged import RaggedLayout


class CrossAttentionCache(NamedTuple):
    """Keys and values of the encoder's output for every layer of the decoder, and the bias that masks padding.

    keys, values: [B, H, S, E] for each layer. bias: [B, 1, 1, S], 0 at tokens and the lowest number at padding.
    folded: for each layer, the keys and values multiplied by the layer's query and output projections, [B, D, H * S]
    and [B, H * S, D], so that these projections need not be applied. This saves time only for a short source; None for
    longer ones, and in training.
    """

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor
    folded: list[tuple[Tensor, Tensor]] | None


def precompute_cross_attention(t5: T5ForConditionalGeneration, states: Tensor, mask: Tensor) -> CrossAttentionCache:
    """Compute the keys and values of all decoder layers for encoder states [B, S, D] with mask [B, S], 1 at tokens."""
    layers = [block.layer[1].EncDecAttention for block in decoder_blocks(t5)]
    bias = mask_to_bias(mask, states.dtype)
    keys = [split_heads(layer, layer.k(states)) for layer in layers]
    values = [split_heads(layer, layer.v(states)) for layer in layers]
    folded = None
    if 2 * layers[0].n_heads * mask.shape[1] <= states.shape[2] and not (torch.is_grad_enabled() or t5.training):
        folded = [_fold_projections(*x) for x in zip(layers, keys, values, strict=True)]
    return CrossAttentionCache(keys, values, bias, folded)


def mask_to_bias(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Convert a mask [B, S], 1 at tokens, to the bias [B, 1, 1, S] that is added to attention logits."""
    bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device)
    return bias.masked_fill(mask == 0, torch.finfo(dtype).min)[:, None, None]


def _fold_projections(attention: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply the query projection Q into keys K and the output projection O into values V.

    The logits of a head are (x Q) K' = x (Q K'), and its contribution to the output is (w V) O = w (V O).
    """
    queries, count, source, width = keys.shape
    into = attention.q.weight.view(count, width, -1).mT @ keys.permute(1, 3, 0, 2).flatten(2)
    out = values.transpose(0, 1).flatten(1, 2) @ attention.o.weight.view(-1, count, width).permute(1, 2, 0)
    into = into.view(count, -1, queries, source).permute(2, 1, 0, 3).flatten(2)
    return into, out.view(count, queries, source, -1).transpose(0, 1).flatten(1, 2)


def cross_attend(
    attention: Any, normed: Tensor, cache: CrossAttentionCache, layer: int, layout: RaggedLayout
) -> Tensor:
    """Compute the cross-attention of one layer: normed decoder states [n, T, D] -> [n, T, D].

    The folded keys and values are not used if the padded form would consist mostly of padding.
    """
    if cache.folded is None or 2 * len(layout.query) < layout.num_queries * layout.width:
        query = layout.pad(linear(attention.q, normed))
        keys, values = cache.keys[layer], cache.values[layer]
        attended = attend(attention, split_heads(attention, query.flatten(1, 2)), keys, values, cache.bias)
        return linear(attention.o, layout.unpad(attended.view_as(query)))
    keys, values = cache.folded[layer]
    states = layout.pad(normed)
    logits = (states.flatten(1, 2) @ keys).view(len(states), -1, attention.n_heads, cache.bias.shape[-1])
    weights = (logits + cache.bias).float().softmax(-1).type_as(states)
    return layout.unpad((weights.flatten(2) @ values).view_as(states))

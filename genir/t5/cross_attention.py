"""Cross-attention of T5's decoder, with the keys and values of each query made once and shared by all its docids.

Shapes: B queries, n decoder rows, T decoder tokens, S source tokens, D model width, H heads, E width of a head.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from genir.t5.attention import attend, blocks, heads, linear
from genir.t5.ragged import Shares


class Memory(NamedTuple):
    """What the decoder attends to: keys, values [B, H, S, E] of each layer, and bias [B, 1, 1, S], 0 or -inf.

    short: keys and values of each layer once more, with the layer's query and output projections in them, [B, D, H * S]
    and [B, H * S, D]: smaller than the projections if the source is short. None if it is not, and in training.
    """

    keys: list[Tensor]
    values: list[Tensor]
    bias: Tensor
    short: list[tuple[Tensor, Tensor]] | None


def remember(t5: T5ForConditionalGeneration, states: Tensor, mask: Tensor) -> Memory:
    """Cross-attention keys and values of encoder states [B, S, D] with mask [B, S]."""
    layers = [block.layer[1].EncDecAttention for block in blocks(t5)]
    bias = bias_of(mask, states.dtype)
    keys, values = [heads(x, x.k(states)) for x in layers], [heads(x, x.v(states)) for x in layers]
    short = None
    if 2 * layers[0].n_heads * mask.shape[1] <= states.shape[2] and not (torch.is_grad_enabled() or t5.training):
        short = [_shorten(*x) for x in zip(layers, keys, values, strict=True)]
    return Memory(keys, values, bias, short)


def bias_of(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """[B, S] with 1 at real tokens -> [B, 1, 1, S] to add to an attention's logits."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(mask == 0, torch.finfo(dtype).min)[
        :, None, None
    ]


def _shorten(attention: Any, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """A head's logits are (x Q) K' = x (Q K'), and what it adds to the output is (w V) O = w (V O)."""
    queries, count, source, width = keys.shape
    into = attention.q.weight.view(count, width, -1).mT @ keys.permute(1, 3, 0, 2).flatten(2)
    out = values.transpose(0, 1).flatten(1, 2) @ attention.o.weight.view(-1, count, width).permute(1, 2, 0)
    into = into.view(count, -1, queries, source).permute(2, 1, 0, 3).flatten(2)
    return into, out.view(count, queries, source, -1).transpose(0, 1).flatten(1, 2)


def cross_attend(attention: Any, normed: Tensor, memory: Memory, number: int, shares: Shares) -> Tensor:
    """What decoder states [n, T, D] take from the source in a layer."""
    if memory.short is None or 2 * len(shares.query) < shares.lines * shares.width:
        query = shares.matrix(linear(attention.q, normed))
        keys, values = memory.keys[number], memory.values[number]
        seen = attend(attention, heads(attention, query.flatten(1, 2)), keys, values, memory.bias)
        return linear(attention.o, shares.flat(seen.view_as(query)))
    keys, values = memory.short[number]
    rows = shares.matrix(normed)
    logits = (rows.flatten(1, 2) @ keys).view(len(rows), -1, attention.n_heads, memory.bias.shape[-1])
    weights = (logits + memory.bias).float().softmax(-1).type_as(rows)
    return shares.flat((weights.flatten(2) @ values).view_as(rows))

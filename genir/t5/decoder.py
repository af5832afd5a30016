"""T5's decoder over many partial docids of a query: the query's cross-attention keys and values are made once and
shared, and those of what is written are kept once, whoever goes on from there.

It runs the layers of a Hugging Face model and gives what that model gives; only the attention is arranged anew.
Shapes: B queries, N candidates, n decoder rows, T decoder tokens, P tokens before them, S source tokens, D model width,
H heads, E width of a head.
"""

import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5ForConditionalGeneration

from genir.t5.attention import attend, blocks, heads, linear, norm
from genir.t5.cross_attention import Memory, cross_attend
from genir.t5.cuda_graphs import SMALL, rounded
from genir.t5.kv_cache import Past
from genir.t5.ragged import Shares


def decode(t5: T5ForConditionalGeneration, memory: Memory, tokens: Tensor) -> Tensor:
    """Decoder states [B, N, T, D] after the tokens [B, N, T], before the head."""
    queries, candidates, length = tokens.shape
    bias = _self_bias(t5, length)

    def own(number: int, attention: Any, normed: Tensor) -> Tensor:
        query, key, value = (
            heads(attention, linear(project, normed)) for project in (attention.q, attention.k, attention.v)
        )
        return attend(attention, query, key, value, bias)

    shares = Shares.of([candidates] * queries, tokens.device)
    return _layers(t5, memory, tokens.flatten(0, 1), shares, own).view(queries, candidates, length, -1)


def extend(
    t5: T5ForConditionalGeneration, memory: Memory, shares: Shares, past: Past, tokens: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """Decoder states [n, T, D] after the tokens [n, T], which follow others, and the rows [n, T] of `past` that now
    keep them. before [n, P]: the rows of those others, -1 after the end where there are fewer than P.
    """
    # A larger memory is made anew for each search (see `DocidModel.remember`), and no other one could use its graphs.
    lasting = memory.bias.numel() <= SMALL
    if past.replays is not None and lasting and shares.lines * shares.width * tokens.shape[1] <= SMALL:
        return _replay(t5, memory, shares, past, tokens, before)
    kept = past.reserve(tokens.numel())
    rows = torch.arange(kept.start, kept.stop, device=tokens.device).view(tokens.shape)
    return _extend(t5, memory, shares, past, tokens, before, rows), rows


def _extend(
    t5: T5ForConditionalGeneration,
    memory: Memory,
    shares: Shares,
    past: Past,
    tokens: Tensor,
    before: Tensor,
    rows: Tensor,
) -> Tensor:
    """`extend` with the rows [n, T] where the tokens are to be kept."""
    length = tokens.shape[1]
    seen = torch.cat([before, rows], 1)
    begin = (before >= 0).sum(1, keepdim=True)
    positions = torch.arange(before.shape[1], device=tokens.device).expand_as(before).masked_fill(before < 0, _NEVER)
    positions = torch.cat([positions, begin + torch.arange(length, device=tokens.device)], 1)
    bias = _bias_at(t5, positions, length)
    seen = seen.clamp(min=0)

    def own(number: int, attention: Any, normed: Tensor) -> Tensor:
        past.write(number, rows, linear(attention.k, normed), linear(attention.v, normed))
        keys, values = past.read(number, seen)
        query = heads(attention, linear(attention.q, normed))
        if query.is_cuda and query.dtype == torch.float32:
            return attend(attention, query, keys, values, bias)  # 0.4 of torch's own time at 13 tokens
        found = functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=1.0)
        return found.transpose(1, 2).flatten(2)

    return _layers(t5, memory, tokens, shares, own)


def _replay(
    t5: T5ForConditionalGeneration, memory: Memory, shares: Shares, past: Past, tokens: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """`extend` by a graph. What is there is filled up to a rounded number of rows a query, of tokens, and of tokens
    before them, so that the same shapes return.
    """
    length = tokens.shape[1]
    filled = Shares.even_of(shares.lines, rounded(shares.width, 16), tokens.device)
    place = shares.query * filled.width + shares.place
    wide = tokens.new_zeros((filled.lines * filled.width, rounded(length, 4)))
    wide[place, :length] = tokens
    earlier = before.new_full((len(wide), rounded(before.shape[1], 8)), -1)
    earlier[place, : before.shape[1]] = before
    kept = past.reserve(wide.numel())
    rows = torch.arange(kept.start, kept.stop, device=tokens.device).view(wide.shape)

    here: Any = weakref.proxy(past)  # it holds its graphs: held by them as well, its memory would not be free at once

    def run(*arguments: Tensor) -> Tensor:
        return _extend(t5, memory, filled, here, *arguments)

    assert past.replays is not None
    hidden = past.replays(("extend", id(memory)), run, wide, earlier, rows)
    return hidden[place, :length], rows[place, :length]


_NEVER = 1 << 30
"""A position after all others, which nothing attends to."""


def _layers(
    t5: T5ForConditionalGeneration,
    memory: Memory,
    tokens: Tensor,
    shares: Shares,
    own: Callable[[int, Any, Tensor], Tensor],
) -> Tensor:
    """Decoder states [n, T, D] after the tokens [n, T]; own: a layer's self-attention of [n, T, D], heads joined."""
    decoder: Any = t5.decoder
    hidden: Tensor = decoder.dropout(decoder.embed_tokens(tokens))
    for number, block in enumerate(blocks(t5)):
        first, cross, feed = block.layer
        attention = first.SelfAttention
        hidden = hidden + first.dropout(linear(attention.o, own(number, attention, norm(first.layer_norm, hidden))))
        source = cross_attend(cross.EncDecAttention, norm(cross.layer_norm, hidden), memory, number, shares)
        hidden = hidden + cross.dropout(source)
        hidden = hidden + feed.dropout(_feed(feed.DenseReluDense, norm(feed.layer_norm, hidden)))
    result: Tensor = decoder.dropout(norm(decoder.final_layer_norm, hidden))
    return result


def _feed(dense: Any, hidden: Tensor) -> Tensor:
    """The feed-forward net of T5 v1.0, or the gated one of v1.1."""
    if hasattr(dense, "wi"):
        inner = dense.act(linear(dense.wi, hidden))
    else:
        inner = dense.act(linear(dense.wi_0, hidden)) * linear(dense.wi_1, hidden)
    return linear(dense.wo, dense.dropout(inner))


def _self_bias(t5: T5ForConditionalGeneration, length: int) -> Tensor:
    """Relative position bias of the first layer, which all layers use, and -inf above the diagonal: [1, H, T, T]."""
    attention = blocks(t5)[0].layer[0].SelfAttention
    bias: Tensor = attention.compute_bias(length, length, device=t5.device)
    future = torch.ones(length, length, dtype=torch.bool, device=bias.device).triu(1)
    return bias.masked_fill(future, torch.finfo(bias.dtype).min)


def _bias_at(t5: T5ForConditionalGeneration, positions: Tensor, length: int) -> Tensor:
    """The same for the last `length` of C tokens at positions [n, C], towards all of them: [n, H, length, C]."""
    by_distance = _self_bias(t5, positions.shape[1])[0, :, -1].flip(-1)
    distance = positions[:, -length:, None] - positions[:, None]
    bias = by_distance[:, distance.clamp(min=0)].transpose(0, 1)
    return bias.masked_fill((distance < 0).unsqueeze(1), torch.finfo(bias.dtype).min)

"""T5's decoder over many partial docids of a query: the query's cross-attention keys and values are made once and
shared, and those of what is written are kept once, whoever goes on from there.

It runs the layers of a Hugging Face model and gives what that model gives; only the attention is arranged anew.
Shapes: B queries, N candidates, n decoder rows, T decoder tokens, P tokens before them, S source tokens, D model width,
H heads, E width of a head.
"""

from collections.abc import Callable, Sequence
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


class Shares(NamedTuple):
    """Which query each of n decoder rows belongs to, in the order of queries: query, place [n] are a row's line and
    column in a matrix of `lines` lines and `width` columns; even: it has no holes.
    """

    query: Tensor
    place: Tensor
    lines: int
    width: int
    even: bool

    @classmethod
    def of(cls, counts: Sequence[int], device: torch.device) -> "Shares":
        """The first counts[0] rows belong to query 0, the next counts[1] to query 1, and so on."""
        rows = torch.tensor(counts, device=device)
        total, width = sum(counts), max(counts)
        query = torch.repeat_interleave(rows, output_size=total)
        place = torch.arange(total, device=device) - (rows.cumsum(0) - rows)[query]
        return cls(query, place, len(counts), width, min(counts) == width)

    def matrix(self, flat: Tensor, fill: float = 0) -> Tensor:
        """[n, ...] -> [lines, width, ...], `fill` in the holes."""
        if self.even:
            return flat.view(self.lines, self.width, *flat.shape[1:])
        made = flat.new_full((self.lines, self.width, *flat.shape[1:]), fill)
        made[self.query, self.place] = flat
        return made

    def flat(self, matrix: Tensor) -> Tensor:
        """[lines, width, ...] -> [n, ...]."""
        return matrix.flatten(0, 1) if self.even else matrix[self.query, self.place]


class Past:
    """Self-attention keys and values of every decoder token run so far, a row each in every layer. Nothing is ever
    reordered: a partial docid names the rows of its tokens.
    """

    def __init__(self, t5: T5ForConditionalGeneration) -> None:
        attention = _blocks(t5)[0].layer[0].SelfAttention
        self.size = 0
        self._shape = (attention.n_heads, attention.key_value_proj_dim)
        self._layers = [t5.shared.weight.new_empty((0, 2 * attention.inner_dim)) for _ in _blocks(t5)]

    def reserve(self, count: int) -> range:
        """Row numbers for `count` more tokens. Room at least doubles, so that it is seldom made."""
        rows = range(self.size, self.size + count)
        self.size = rows.stop
        if self.size > len(self._layers[0]):
            for number, layer in enumerate(self._layers):
                self._layers[number] = layer.new_empty((max(self.size, 2 * len(layer)), layer.shape[1]))
                self._layers[number][: len(layer)] = layer
        return rows

    def write(self, number: int, rows: range, keys: Tensor, values: Tensor) -> None:
        """Keep keys, values [n, T, H * E] of a layer at reserved rows."""
        kept = self._layers[number][rows.start : rows.stop]
        middle = kept.shape[1] // 2
        kept[:, :middle] = keys.reshape(-1, middle)
        kept[:, middle:] = values.reshape(-1, middle)

    def read(self, number: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [n, H, T, E] of a layer at rows [n, T]."""
        found = self._layers[number].index_select(0, rows.flatten()).view(*rows.shape, 2, *self._shape)
        keys, values = found.permute(2, 0, 3, 1, 4)
        return keys, values


def remember(t5: T5ForConditionalGeneration, states: Tensor, mask: Tensor) -> Memory:
    """Cross-attention keys and values of encoder states [B, S, D] with mask [B, S]."""
    layers = [block.layer[1].EncDecAttention for block in _blocks(t5)]
    bias = states.new_zeros(mask.shape).masked_fill(mask == 0, torch.finfo(states.dtype).min)[:, None, None]
    return Memory([_heads(x, x.k(states)) for x in layers], [_heads(x, x.v(states)) for x in layers], bias)


def decode(t5: T5ForConditionalGeneration, memory: Memory, tokens: Tensor) -> Tensor:
    """Decoder states [B, N, T, D] after the tokens [B, N, T], before the head."""
    queries, candidates, length = tokens.shape
    bias = _self_bias(t5, length)

    def own(number: int, attention: Any, normed: Tensor) -> Tensor:
        query, key, value = (
            _heads(attention, _linear(project, normed)) for project in (attention.q, attention.k, attention.v)
        )
        return _attend(attention, query, key, value, bias)

    shares = Shares.of([candidates] * queries, tokens.device)
    return _layers(t5, memory, tokens.flatten(0, 1), shares, own).view(queries, candidates, length, -1)


def extend(
    t5: T5ForConditionalGeneration, memory: Memory, shares: Shares, past: Past, tokens: Tensor, before: Tensor
) -> tuple[Tensor, Tensor]:
    """Decoder states [n, T, D] after the tokens [n, T], which follow others, and the rows [n, T] of `past` that now
    keep them. before [n, P]: the rows of those others, -1 after the end where there are fewer than P.
    """
    count, length = tokens.shape
    kept = past.reserve(tokens.numel())
    rows = torch.arange(kept.start, kept.stop, device=tokens.device).view(count, length)
    seen = torch.cat([before, rows], 1)
    begin = (before >= 0).sum(1, keepdim=True)
    positions = torch.arange(before.shape[1], device=tokens.device).expand_as(before).masked_fill(before < 0, _NEVER)
    positions = torch.cat([positions, begin + torch.arange(length, device=tokens.device)], 1)
    bias = _bias_at(t5, positions, length)
    seen = seen.clamp(min=0)

    def own(number: int, attention: Any, normed: Tensor) -> Tensor:
        past.write(number, kept, _linear(attention.k, normed), _linear(attention.v, normed))
        keys, values = past.read(number, seen)
        query = _heads(attention, _linear(attention.q, normed))
        found = functional.scaled_dot_product_attention(query, keys, values, attn_mask=bias, scale=1.0)
        return found.transpose(1, 2).flatten(2)

    return _layers(t5, memory, tokens, shares, own), rows


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
    for number, block in enumerate(_blocks(t5)):
        first, cross, feed = block.layer
        attention = first.SelfAttention
        hidden = hidden + first.dropout(_linear(attention.o, own(number, attention, first.layer_norm(hidden))))
        attention = cross.EncDecAttention
        query = shares.matrix(_linear(attention.q, cross.layer_norm(hidden)))
        seen = _attend(
            attention, _heads(attention, query.flatten(1, 2)), memory.keys[number], memory.values[number], memory.bias
        )
        hidden = hidden + cross.dropout(_linear(attention.o, shares.flat(seen.view_as(query))))
        hidden = hidden + feed.dropout(_feed(feed.DenseReluDense, feed.layer_norm(hidden)))
    result: Tensor = decoder.dropout(decoder.final_layer_norm(hidden))
    return result


def _feed(dense: Any, hidden: Tensor) -> Tensor:
    """The feed-forward net of T5 v1.0, or the gated one of v1.1."""
    if hasattr(dense, "wi"):
        inner = dense.act(_linear(dense.wi, hidden))
    else:
        inner = dense.act(_linear(dense.wi_0, hidden)) * _linear(dense.wi_1, hidden)
    return _linear(dense.wo, dense.dropout(inner))


def _linear(linear: Any, rows: Tensor) -> Tensor:
    """A bias-free linear layer. On a CPU 8 to 16 rows are multiplied from the other side, which takes MKL a third to a
    half less time.
    """
    flat = rows.flatten(0, -2)
    made: Tensor
    if rows.device.type == "cpu" and 8 <= len(flat) <= 16 and not torch.is_grad_enabled():
        made = (linear.weight @ flat.t()).t().reshape(*rows.shape[:-1], -1)
    else:
        made = linear(rows)
    return made


def _blocks(t5: T5ForConditionalGeneration) -> Any:
    return t5.decoder.block


def _heads(attention: Any, flat: Tensor) -> Tensor:
    """[n, T, H * E] -> [n, H, T, E]."""
    return flat.view(len(flat), -1, attention.n_heads, attention.key_value_proj_dim).transpose(1, 2)


def _self_bias(t5: T5ForConditionalGeneration, length: int) -> Tensor:
    """Relative position bias of the first layer, which all layers use, and -inf above the diagonal: [1, H, T, T]."""
    attention = _blocks(t5)[0].layer[0].SelfAttention
    bias: Tensor = attention.compute_bias(length, length, device=t5.device)
    future = torch.ones(length, length, dtype=torch.bool, device=bias.device).triu(1)
    return bias.masked_fill(future, torch.finfo(bias.dtype).min)


def _bias_at(t5: T5ForConditionalGeneration, positions: Tensor, length: int) -> Tensor:
    """The same for the last `length` of C tokens at positions [n, C], towards all of them: [n, H, length, C]."""
    by_distance = _self_bias(t5, positions.shape[1])[0, :, -1].flip(-1)
    distance = positions[:, -length:, None] - positions[:, None]
    bias = by_distance[:, distance.clamp(min=0)].transpose(0, 1)
    return bias.masked_fill((distance < 0).unsqueeze(1), torch.finfo(bias.dtype).min)


def _attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """T5 does not scale: softmax(q k + bias) v, heads joined again: [n, T, H * E]."""
    weights = (query @ key.transpose(-1, -2) + bias).float().softmax(-1).type_as(query)
    weights = functional.dropout(weights, attention.dropout, attention.training)
    joined = (weights @ value).transpose(1, 2)
    return joined.reshape(*joined.shape[:2], attention.inner_dim)

"""Self-attention keys and values of what T5's decoder has written: kept once, whoever goes on from there."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from genir.t5.attention import blocks
from genir.t5.cuda_graphs import Replays

_KEPT = 1 << 30
"""Bytes that are kept for the next search, see `kept`."""
_FIRST = 4096
"""Rows that a GPU has room for at once: more room is at another place, and all graphs are captured anew."""


class Past:
    """Self-attention keys and values of every decoder token run so far, a row each in every layer. Nothing is ever
    reordered: a partial docid names the rows of its tokens.

    replays: on a GPU, the graphs of passes that write here; else None.
    """

    def __init__(self, t5: T5ForConditionalGeneration) -> None:
        attention = blocks(t5)[0].layer[0].SelfAttention
        self.size = 0
        self._shape = (attention.n_heads, attention.key_value_proj_dim)
        self._layers = [t5.shared.weight.new_empty((0, 2 * attention.inner_dim)) for _ in blocks(t5)]
        places = ((module._parameters, name) for module in t5.modules() for name in module._parameters)
        self._weights = [(held, name, _address(held, name)) for held, name in places]
        self._training = t5.training
        self.replays = Replays(kept(t5.device)) if by_graphs(t5) else None
        self._trie: object = None

    @property
    def nbytes(self) -> int:
        """Bytes of its room, and of its graphs."""
        return sum(layer.nbytes for layer in self._layers) + (0 if self.replays is None else self.replays.nbytes)

    def fits(self, t5: T5ForConditionalGeneration) -> bool:
        """Whether it is of a model's type and on its device, and its graphs do what the model does: all weights are
        where they read them, and there is dropout, or none, as when they were captured.
        """
        same = self._layers[0].dtype == t5.dtype and self._layers[0].device == t5.device
        if not same or self.replays is None:
            return same
        return t5.training == self._training and all(
            _address(held, name) == address for held, name, address in self._weights
        )

    def use(self, trie: object) -> None:
        """Search in a trie from now on. Graphs hold what they use, so those of another one are forgotten."""
        if self.replays is not None and self._trie is not None and self._trie is not trie:
            self.replays.clear()
        self._trie = trie

    def reserve(self, count: int) -> range:
        """Row numbers for `count` more tokens. Room at least doubles, so that it is seldom made."""
        rows = range(self.size, self.size + count)
        self.size = rows.stop
        if self.size > len(self._layers[0]):
            room = max(self.size, 2 * len(self._layers[0]), 0 if self.replays is None else _FIRST)
            for number, layer in enumerate(self._layers):
                self._layers[number] = layer.new_empty((room, layer.shape[1]))
                self._layers[number][: len(layer)] = layer
            if self.replays is not None:
                self.replays.clear()
        return rows

    def write(self, number: int, rows: Tensor, keys: Tensor, values: Tensor) -> None:
        """Keep keys, values [n, T, H * E] of a layer at reserved rows [n, T]."""
        self._layers[number].index_copy_(0, rows.flatten(), torch.cat([keys, values], -1).flatten(0, 1))

    def read(self, number: int, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [n, H, T, E] of a layer at rows [n, T]."""
        found = self._layers[number].index_select(0, rows.flatten()).view(*rows.shape, 2, *self._shape)
        keys, values = found.permute(2, 0, 3, 1, 4)
        return keys, values


def _address(held: Mapping[str, Tensor | None], name: str) -> int | None:
    weight = held.get(name)
    return None if weight is None else weight.data_ptr()


def kept(device: torch.device) -> int:
    """Bytes of keys, values and graphs that are kept for the next search."""
    return _KEPT if device.type == "cpu" else torch.cuda.get_device_properties(device).total_memory // 8


def by_graphs(t5: T5ForConditionalGeneration) -> bool:
    """Whether passes of a model go by graphs."""
    return t5.device.type == "cuda"


class Pasts:
    """Those that no search uses at present. Their room is kept, for as many searches as there are at a time: to get it
    from the system takes longer than to fill it.
    """

    def __init__(self) -> None:
        self.idle: list[Past] = []

    @contextmanager
    def one(self, t5: T5ForConditionalGeneration) -> Iterator[Past]:
        """An empty one, for one search with a model."""
        try:
            past = self.idle.pop()  # not looked at before: another thread may be searching
        except IndexError:
            past = Past(t5)
        if not past.fits(t5):
            past = Past(t5)
        past.size = 0
        yield past
        # Without the only one, each search would capture its graphs anew; but a training may need the memory more.
        most = kept(t5.device) * (1 if self.idle or past.replays is None else 2)
        if past.nbytes + sum(other.nbytes for other in self.idle) <= most:
            self.idle.append(past)

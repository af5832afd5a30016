"""The KV cache of T5's decoder, in which each token is stored once and shared by all beams that extend it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import T5ForConditionalGeneration

from genir.errors import SearchTimeout
from genir.t5.attention import decoder_blocks
from genir.t5.cuda_graphs import CUDAGraphCache

_MAX_IDLE_BYTES = 1 << 30
"""The value of `max_idle_bytes` on a CPU."""
_MIN_GPU_CAPACITY = 4096
"""Smallest capacity on a GPU, in slots: growth moves the cache to new memory, after which every graph must be captured
again.
"""


class KVCache:
    """Self-attention keys and values of every decoder token that has been run, one slot per token in every layer.

    Nothing is ever reordered: a partial docid is a list of the slots of its tokens. Slots are numbered from 0.

    size: number of slots in use. graphs: on a GPU, the CUDA graphs of the passes that write to this cache; else None.
    """

    def __init__(self, t5: T5ForConditionalGeneration) -> None:
        attention = decoder_blocks(t5)[0].layer[0].SelfAttention
        self.size = 0
        self._shape = (attention.n_heads, attention.key_value_proj_dim)
        self._layers = [t5.shared.weight.new_empty((0, 2 * attention.inner_dim)) for _ in decoder_blocks(t5)]
        weights = ((module._parameters, name) for module in t5.modules() for name in module._parameters)
        self._weights = [(parameters, name, _address(parameters, name)) for parameters, name in weights]
        self._training = t5.training
        self.graphs = CUDAGraphCache(max_idle_bytes(t5.device)) if uses_cuda_graphs(t5) else None
        self._trie: object = None

    @property
    def nbytes(self) -> int:
        """Bytes of the allocated slots and of the graphs."""
        return sum(layer.nbytes for layer in self._layers) + (0 if self.graphs is None else self.graphs.nbytes)

    def is_compatible(self, t5: T5ForConditionalGeneration) -> bool:
        """Whether the cache has the dtype and device of a model, and its graphs still compute what the model does.

        Graphs read the weights at the addresses that these had at the time of capture, and apply dropout if the model
        was in training mode then.
        """
        same_kind = self._layers[0].dtype == t5.dtype and self._layers[0].device == t5.device
        if not same_kind or self.graphs is None:
            return same_kind
        return t5.training == self._training and all(
            _address(parameters, name) == address for parameters, name, address in self._weights
        )

    def bind_trie(self, trie: object) -> None:
        """Prepare for searches in a trie: graphs use the tensors of one trie, so those of another trie are deleted."""
        if self.graphs is not None and self._trie is not None and self._trie is not trie:
            self.graphs.clear()
        self._trie = trie

    def allocate(self, count: int) -> range:
        """Allocate `count` slots. Growth at least doubles the capacity, so that it is rare."""
        slots = range(self.size, self.size + count)
        self.size = slots.stop
        if self.size > len(self._layers[0]):
            min_capacity = 0 if self.graphs is None else _MIN_GPU_CAPACITY
            capacity = max(self.size, 2 * len(self._layers[0]), min_capacity)
            for number, layer in enumerate(self._layers):
                self._layers[number] = layer.new_empty((capacity, layer.shape[1]))
                self._layers[number][: len(layer)] = layer
            if self.graphs is not None:
                self.graphs.clear()
        return slots

    def write(self, layer: int, slots: Tensor, keys: Tensor, values: Tensor) -> None:
        """Store keys and values [n, T, H * E] of a layer in allocated slots [n, T]."""
        self._layers[layer].index_copy_(0, slots.flatten(), torch.cat([keys, values], -1).flatten(0, 1))

    def read(self, layer: int, slots: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [n, H, T, E] of a layer in slots [n, T]."""
        stored = self._layers[layer].index_select(0, slots.flatten()).view(*slots.shape, 2, *self._shape)
        keys, values = stored.permute(2, 0, 3, 1, 4)
        return keys, values


def _address(parameters: Mapping[str, Tensor | None], name: str) -> int | None:
    weight = parameters.get(name)
    return None if weight is None else weight.data_ptr()


def max_idle_bytes(device: torch.device) -> int:
    """Largest number of bytes that idle caches and their graphs may take; on a GPU it is an eighth of its memory."""
    if device.type == "cpu":
        return _MAX_IDLE_BYTES
    return torch.cuda.get_device_properties(device).total_memory // 8


def uses_cuda_graphs(t5: T5ForConditionalGeneration) -> bool:
    """Whether the decoder passes of a model run as CUDA graphs."""
    return t5.device.type == "cuda"


class KVCachePool:
    """A pool of KV caches, from which each search borrows one.

    Caches are reused because allocating their memory takes longer than filling it. There are at most as many as
    searches have run at the same time. idle: the caches that no search uses at present.
    """

    def __init__(self) -> None:
        self.idle: list[KVCache] = []

    @contextmanager
    def borrow(self, t5: T5ForConditionalGeneration) -> Iterator[KVCache]:
        """Borrow an empty cache for one search with a model; it is returned at the end of the `with` block.

        A cache is not returned after an error, since its graphs may be incomplete, unless the error is that the search
        has reached its deadline, which is only checked between graphs.
        """
        try:
            cache = self.idle.pop()  # not preceded by a check, since another thread may empty the list after it
        except IndexError:
            cache = KVCache(t5)
        if not cache.is_compatible(t5):
            cache = KVCache(t5)
        cache.size = 0
        try:
            yield cache
        except SearchTimeout:
            self._give_back(cache, t5)
            raise
        self._give_back(cache, t5)

    def _give_back(self, cache: KVCache, t5: T5ForConditionalGeneration) -> None:
        """Keep a cache for the next search, unless the idle caches take too much memory."""
        # Discarding the only cache with graphs would mean capturing them in every search, so it may take twice as much.
        # It must still have a limit, because training may need the memory.
        limit = max_idle_bytes(t5.device) * (1 if self.idle or cache.graphs is None else 2)
        if cache.nbytes + sum(other.nbytes for other in self.idle) <= limit:
            self.idle.append(cache)

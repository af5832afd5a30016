"""CUDA graphs. A pass of a decoder starts hundreds of small kernels; one after the other from Python, that takes many
times as long as the GPU works on a small batch. A graph starts them all at once.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Function = Callable[..., Any]
SMALL = 4096
"""Tokens of a pass up to which graphs are worth it: starting its kernels one by one takes about as long as they do
(T5-base on an H200).
"""
_MOST = 256
"""Graphs that are kept."""
_capturing = threading.Lock()
"""Two captures at a time break each other, whatever they are of: each begins with a wait for the whole device."""
_asides: dict[torch.device, Any] = {}
"""A stream of each device to capture on: torch's own is of the device that came first, and graphs share memory of one
stream only.
"""


def rounded(count: int, step: int) -> int:
    """The next multiple, so that shapes return; 0 and 1 stay."""
    return count if count <= 1 else -(-count // step) * step


def filled(x: Tensor, dim: int, size: int, value: float = 0) -> Tensor:
    """x with `size` places along a dimension; the value in those that are new."""
    if x.shape[dim] == size:
        return x
    made = x.new_full((*x.shape[:dim], size, *x.shape[dim + 1 :]), value)
    made.narrow(dim, 0, x.shape[dim]).copy_(x)
    return made


class Replays:
    """Calls functions of tensors by their graphs, one for each name and shapes, which the first such call captures.

    A function must not look at values on the CPU, and what it uses besides its arguments must stay where it is. Not for
    two threads at once.

    most: bytes of arguments and results that graphs may hold; where they do, or there are many, all are forgotten.
    nbytes: what they hold.
    """

    def __init__(self, most: int) -> None:
        self._graphs: dict[Any, tuple[Function, tuple[Tensor, ...], Any, Callable[[], None]]] = {}
        self._pool: Any = None
        self._most = most
        self.nbytes = 0

    @torch.inference_mode()
    def __call__(self, name: Any, function: Function, *arguments: Tensor, lasting: bool = False) -> Any:
        """function(*arguments), in the same tensors each time. lasting: only the next call of this graph overwrites
        them; otherwise, the next call of any does.
        """
        key = (name, *(x.shape for x in arguments))
        if key not in self._graphs:
            if len(self._graphs) >= _MOST or self.nbytes > self._most:
                self.clear()
            inputs = tuple(x.clone() for x in arguments)
            self._pool = self._pool or new_pool()
            with _capturing:
                self._graphs[key] = (function, inputs, *capture(function, inputs, None if lasting else self._pool))
            self.nbytes += sum(x.nbytes for x in tree_leaves(self._graphs[key][1:3]) if isinstance(x, Tensor))
        _, inputs, output, replay = self._graphs[key]
        for place, value in zip(inputs, arguments, strict=True):
            place.copy_(value)
        replay()
        return output

    def clear(self) -> None:
        """Forget all graphs. What they have returned stays."""
        self._graphs.clear()
        self.nbytes = 0
        self._pool = None  # it ends with its last graph


def new_pool() -> Any:
    """Memory for the work of several graphs, of which one runs at a time."""
    return torch.cuda.graph_pool_handle()


def capture(function: Function, inputs: tuple[Tensor, ...], pool: Any) -> tuple[Any, Callable[[], None]]:
    """What the function returns, and what fills that in anew from the same inputs."""
    device = inputs[0].device
    with torch.cuda.device(device):
        if device not in _asides:
            _asides[device] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside = _asides[device]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # restored even if the end of a capture fails
            function(*inputs)  # libraries choose their kernels in a first run, which no graph may hold
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, aside, capture_error_mode="thread_local"):
                output = function(*inputs)
        torch.cuda.current_stream().wait_stream(aside)
    return output, graph.replay

"""CUDA graphs: functions of tensors that are captured once and replayed, so that one call starts all their kernels.

A decoder pass starts hundreds of small kernels. For a small batch, starting them one by one from Python takes many
times as long as the GPU needs to run them.
"""

import threading
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

Function = Callable[..., Any]
MAX_GRAPH_TOKENS = 4096
"""Passes over more tokens run without a graph: starting their kernels one by one takes about as long as running them
(T5-base on an H200).
"""
_MAX_GRAPHS = 256
"""Largest number of graphs in a cache."""
_capture_lock = threading.Lock()
"""Held during a capture: two concurrent captures break each other, since each begins by synchronising the device."""
_capture_streams: dict[torch.device, Any] = {}
"""One stream per device to capture on. The default capture stream of torch belongs to the device that captured first,
and graphs can only share memory within one stream.
"""


def round_up(count: int, step: int) -> int:
    """Round up to a multiple of `step`, so that few different shapes occur; 0 and 1 are returned unchanged."""
    return count if count <= 1 else -(-count // step) * step


def pad_to(x: Tensor, dim: int, size: int, value: float = 0) -> Tensor:
    """Pad a tensor with `value` at the end of a dimension until it has `size` entries there."""
    if x.shape[dim] == size:
        return x
    padded = x.new_full((*x.shape[:dim], size, *x.shape[dim + 1 :]), value)
    padded.narrow(dim, 0, x.shape[dim]).copy_(x)
    return padded


class CUDAGraphCache:
    """Calls functions of tensors as CUDA graphs: one graph for each name and input shapes, captured at the first call.

    A function must not read values on the CPU, and every tensor that it uses besides its arguments must stay at its
    address. A cache must not be used by two threads at once.

    max_bytes: all graphs are deleted when their arguments and results take more bytes than this, or when there are too
    many graphs. nbytes: the bytes that the arguments and results take at present.
    """

    def __init__(self, max_bytes: int) -> None:
        self._graphs: dict[Any, tuple[Function, tuple[Tensor, ...], Any, Callable[[], None]]] = {}
        self._pool: Any = None
        self._max_bytes = max_bytes
        self.nbytes = 0

    @torch.inference_mode()
    def __call__(self, name: Any, function: Function, *arguments: Tensor, private_pool: bool = False) -> Any:
        """Return function(*arguments), written to the same output tensors at each call.

        private_pool: give the graph its own memory, so that the result is overwritten only by the next call of the
        same graph; otherwise the next call of any graph may overwrite it.
        """
        key = (name, *(x.shape for x in arguments))
        if key not in self._graphs:
            if len(self._graphs) >= _MAX_GRAPHS or self.nbytes > self._max_bytes:
                self.clear()
            inputs = tuple(x.clone() for x in arguments)
            self._pool = self._pool or new_pool()
            pool = None if private_pool else self._pool
            with _capture_lock:
                self._graphs[key] = (function, inputs, *capture(function, inputs, pool))
            self.nbytes += sum(x.nbytes for x in tree_leaves(self._graphs[key][1:3]) if isinstance(x, Tensor))
        _, inputs, output, replay = self._graphs[key]
        for target, value in zip(inputs, arguments, strict=True):
            target.copy_(value)
        replay()
        return output

    def clear(self) -> None:
        """Delete all graphs. Results that they have returned stay valid."""
        self._graphs.clear()
        self.nbytes = 0
        self._pool = None  # a pool is freed with its last graph


def new_pool() -> Any:
    """Create a memory pool for several graphs, of which only one runs at a time."""
    return torch.cuda.graph_pool_handle()


def capture(function: Function, inputs: tuple[Tensor, ...], pool: Any) -> tuple[Any, Callable[[], None]]:
    """Capture function(*inputs) as a graph.

    Returns the output, and a function that replays the graph, which recomputes the output in place.
    """
    device = inputs[0].device
    with torch.cuda.device(device):
        if device not in _capture_streams:
            _capture_streams[device] = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        stream = _capture_streams[device]
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):  # the current stream is restored even if a capture fails at its end
            function(*inputs)  # libraries choose their kernels in their first run, which must not be captured
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool, stream, capture_error_mode="thread_local"):
                output = function(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
    return output, graph.replay

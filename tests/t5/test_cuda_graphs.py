"""How graphs are captured, with stand-ins for the parts of torch.cuda that need a device."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

import genir.t5.cuda_graphs
from genir.t5.cuda_graphs import Replays, capture


class Cuda:
    """Current device and streams as torch keeps them; captured: where each capture began."""

    def __init__(self):
        self.index, self.streams, self.captured, self.fails = 0, {}, [], False

    def Stream(self):
        return SimpleNamespace(device=self.index, wait_stream=lambda other: None)

    @contextmanager
    def device(self, device):
        before, self.index = self.index, device.index
        try:
            yield
        finally:
            self.index = before

    def stream(self, stream):
        return Current(self, stream)

    def CUDAGraph(self):
        return SimpleNamespace(capture_begin=self.begin, capture_end=self.end, replay=lambda: None)

    def begin(self, *arguments, **kwargs):
        self.captured.append((self.index, self.streams[self.index]))

    def end(self):
        if self.fails:
            raise RuntimeError("invalidated")


class Current:
    """The context in which a stream is the current one, which torch leaves open when a capture fails."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        self.before = self.cuda.index, self.cuda.streams.get(self.stream.device)
        self.cuda.index, self.cuda.streams[self.stream.device] = self.stream.device, self.stream

    def __exit__(self, *_):
        self.cuda.index, self.cuda.streams[self.stream.device] = self.before


@pytest.fixture
def cuda(monkeypatch):
    made = Cuda()
    for name in ("Stream", "device", "stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, getattr(made, name))
    monkeypatch.setattr(torch.cuda, "current_stream", made.Stream)
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda.graph, "default_capture_stream", None)
    monkeypatch.setattr(genir.t5.cuda_graphs, "_asides", {})
    return made


def on(index):
    return SimpleNamespace(device=torch.device("cuda", index))


def test_on_the_device_of_the_tensors_and_always_on_one_stream_of_it(cuda):
    for index in (0, 1, 0, 1):
        capture(lambda x: x, (on(index),), None)
    assert [index for index, _ in cuda.captured] == [0, 1, 0, 1]
    assert len({id(stream) for _, stream in cuda.captured}) == 2


def test_one_that_fails_leaves_the_thread_on_its_stream(cuda):
    cuda.fails = True
    with pytest.raises(RuntimeError, match="invalidated"):
        capture(lambda x: x, (on(1),), None)
    assert cuda.streams[1] is None
    assert cuda.index == 0


def test_one_at_a_time_whoever_searches(monkeypatch):
    underway, most, together = [], [], threading.Barrier(4)

    def count(function, inputs, pool):
        underway.append(1)
        most.append(len(underway))
        for _ in range(1000):
            function(*inputs)
        underway.pop()
        return function(*inputs), lambda: None

    def search(_):
        together.wait()
        return Replays(1 << 30)("double", lambda x: 2 * x, torch.ones(3))

    monkeypatch.setattr(genir.t5.cuda_graphs, "capture", count)
    monkeypatch.setattr(genir.t5.cuda_graphs, "new_pool", object)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search, range(4)))
    assert max(most) == 1

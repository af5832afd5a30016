"""CUDA graphs without a GPU: captures with a fake torch.cuda, and graphs whose operations are played back."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import genir.t5.cuda_graphs
from genir.t5.cuda_graphs import CUDAGraphCache, capture, pad_to, round_up
from tests.helpers.graph_player import GraphPlayer


class FakeCuda:
    """Takes the place of torch.cuda and records captures.

    index, streams: the current device, and the current stream of each device. captures: device and stream on which each
    capture began. fails: whether captures fail at their end.
    """

    def __init__(self):
        self.index, self.streams, self.captures, self.fails = 0, {}, [], False

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
        return CurrentStream(self, stream)

    def CUDAGraph(self):
        return SimpleNamespace(capture_begin=self.begin, capture_end=self.end, replay=lambda: None)

    def begin(self, *arguments, **kwargs):
        self.captures.append((self.index, self.streams[self.index]))

    def end(self):
        if self.fails:
            raise RuntimeError("invalidated")


class CurrentStream:
    """The context in which a stream is the current one; torch does not leave it by itself when a capture fails."""

    def __init__(self, cuda, stream):
        self.cuda, self.stream = cuda, stream

    def __enter__(self):
        self.before = self.cuda.index, self.cuda.streams.get(self.stream.device)
        self.cuda.index, self.cuda.streams[self.stream.device] = self.stream.device, self.stream

    def __exit__(self, *_):
        self.cuda.index, self.cuda.streams[self.stream.device] = self.before


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    for name in ("Stream", "device", "stream", "CUDAGraph"):
        monkeypatch.setattr(torch.cuda, name, getattr(fake, name))
    monkeypatch.setattr(torch.cuda, "current_stream", fake.Stream)
    for name in ("synchronize", "empty_cache"):
        monkeypatch.setattr(torch.cuda, name, lambda: None)
    monkeypatch.setattr(torch._C, "_host_emptyCache", lambda: None, raising=False)
    monkeypatch.setattr(torch.cuda.graph, "default_capture_stream", None)
    monkeypatch.setattr(genir.t5.cuda_graphs, "_capture_streams", {})
    return fake


def on_device(index):
    """Stand in for a tensor on a CUDA device."""
    return SimpleNamespace(device=torch.device("cuda", index))


def test_captures_run_on_the_device_of_the_tensors_and_always_on_the_same_stream_of_it(cuda):
    for index in (0, 1, 0, 1):
        capture(lambda x: x, (on_device(index),), None)
    assert [index for index, _ in cuda.captures] == [0, 1, 0, 1]
    assert len({id(stream) for _, stream in cuda.captures}) == 2


def test_a_capture_that_fails_restores_the_current_device_and_stream(cuda):
    cuda.fails = True
    with pytest.raises(RuntimeError, match="invalidated"):
        capture(lambda x: x, (on_device(1),), None)
    assert cuda.streams[1] is None
    assert cuda.index == 0


def test_captures_of_several_threads_run_one_at_a_time(monkeypatch):
    running, most, barrier = [], [], threading.Barrier(4)

    def count(function, inputs, pool):
        running.append(1)
        most.append(len(running))
        for _ in range(1000):
            function(*inputs)
        running.pop()
        return function(*inputs), lambda: None

    def search(_):
        barrier.wait()
        return CUDAGraphCache(1 << 30)("double", lambda x: 2 * x, torch.ones(3))

    monkeypatch.setattr(genir.t5.cuda_graphs, "capture", count)
    monkeypatch.setattr(genir.t5.cuda_graphs, "new_pool", object)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(search, range(4)))
    assert max(most) == 1


@given(st.integers(0, 100), st.integers(1, 20))
def test_counts_are_rounded_up_to_the_next_multiple_except_0_and_1(count, step):
    multiples = (step * i for i in range(101))
    assert round_up(count, step) == (count if count <= 1 else next(x for x in multiples if x >= count))


def test_padding_adds_a_value_at_the_end_of_one_dimension():
    x = torch.arange(6.0).view(2, 3)
    assert pad_to(x, 0, 3).tolist() == [[0, 1, 2], [3, 4, 5], [0, 0, 0]]
    assert pad_to(x, 1, 4, -1).tolist() == [[0, 1, 2, -1], [3, 4, 5, -1]]
    assert pad_to(x, 1, 3) is x


@pytest.fixture
def player():
    graph_player = GraphPlayer()
    with graph_player.install():
        yield graph_player


def test_a_function_is_captured_once_per_name_and_shapes_and_replayed_with_new_values(player):
    graphs = CUDAGraphCache(1 << 30)
    for value in (1.0, 2.0, 3.0):
        for count in (2, 5):
            x = torch.full((count,), value)
            assert graphs("square", lambda x: x * x, x).tolist() == [value**2] * count
            assert graphs("double", lambda x: x + x, x).tolist() == [value * 2] * count
    assert player.num_captured == 4
    assert player.num_replayed == 12


def test_the_next_call_of_any_graph_overwrites_a_result_unless_its_pool_is_private(player):
    graphs, x = CUDAGraphCache(1 << 30), torch.ones(3)
    private = graphs("private", lambda x: 2 * x, x, private_pool=True)
    shared = graphs("shared", lambda x: 3 * x, x)
    graphs("other", lambda x: 4 * x, x)
    assert private.tolist() == [2, 2, 2]
    assert shared.isnan().all()


def test_too_many_graphs_or_bytes_delete_all_graphs_but_no_result(player):
    x = torch.ones(1000)
    graphs = CUDAGraphCache(10 * x.nbytes)
    first = graphs(0, lambda x: x + 1, x, private_pool=True)
    for name in range(1, 20):
        graphs(name, lambda x: x + 1, x)
        assert 0 < graphs.nbytes <= 12 * x.nbytes  # two arrays of a graph may exceed the limit
    graphs(0, lambda x: x + 1, x)
    assert player.num_captured == 21
    assert first.tolist() == [2] * 1000
    graphs.clear()
    assert graphs.nbytes == 0

"""CUDA graphs without a GPU.

The operations of a capture are recorded and played back on the very tensors that they used, and whatever a real graph
may overwrite is overwritten with NaN.
"""

from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

import genir.t5.cuda_graphs
import genir.t5.kv_cache
from genir.model import DocidModel

SYNCHRONISING = {"item", "_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero"}
"""Operations that wait for a GPU, which a capture forbids."""


class OperationRecorder(TorchDispatchMode):
    """Records the operations of a function with their tensors, and refuses those that cannot be captured."""

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
        name = function.__name__.split(".")[0]
        kwargs = kwargs or {}
        assert name not in SYNCHRONISING, name
        if name in ("index", "index_put_", "index_put"):
            assert all(x is None or x.dtype == torch.long for x in arguments[1]), name
        if name == "repeat_interleave":
            assert kwargs.get("output_size") is not None
        with self:
            result = function.decompose(*arguments, **kwargs)
        if result is NotImplemented:
            result = function(*arguments, **kwargs)
            self.operations.append((function, arguments, kwargs, result))
        return result

    def play(self, output):
        """Run the recorded operations again; returns what they now give in place of `output`."""
        newest = {}

        def replace(tree):
            return tree_map(lambda x: newest.get(id(x), x) if isinstance(x, torch.Tensor) else x, tree)

        for function, arguments, kwargs, result in self.operations:
            again = function(*replace(arguments), **replace(kwargs))
            newest |= {id(old): new for old, new in zip(tensors(result), tensors(again), strict=True)}
        return replace(output)


def tensors(tree):
    """All tensors in nested tuples, lists and dicts."""
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


class GraphPlayer:
    """Takes the place of CUDA's capture of graphs.

    outputs: the outputs of all graphs of each memory pool. num_captured, num_replayed: counts. functions: names of the
    captured functions.
    """

    def __init__(self):
        self.outputs, self.num_captured, self.num_replayed, self.functions = {}, 0, 0, set()

    @contextmanager
    def install(self, uses_cuda_graphs=lambda t5: True, **constants):
        """In this context, the models that `uses_cuda_graphs` accepts run as graphs of this player.

        constants: other values for constants of genir.t5.cuda_graphs and genir.t5.kv_cache.
        """
        graphs, cache = genir.t5.cuda_graphs, genir.t5.kv_cache
        with ExitStack() as stack:
            stack.enter_context(patch.multiple(graphs, capture=self.capture, new_pool=object))
            stack.enter_context(patch.object(cache, "uses_cuda_graphs", uses_cuda_graphs))
            for name, value in constants.items():
                stack.enter_context(patch.object(graphs if hasattr(graphs, name) else cache, name, value))
            yield

    def capture(self, function, inputs, pool):
        """As `genir.t5.cuda_graphs.capture`."""
        with OperationRecorder() as recorder:
            output = function(*inputs)
        self.functions.add(getattr(function, "func", function).__qualname__)
        outputs_of_pool = self.outputs.setdefault(pool, []) if pool else []
        outputs_of_pool.append(output)
        self.num_captured += 1

        def replay():
            self.num_replayed += 1
            for x in tensors(outputs_of_pool):
                if x.is_floating_point():
                    x.fill_(torch.nan)
            for old, new in zip(tensors(output), tensors(recorder.play(output)), strict=True):
                old.copy_(new)

        return output, replay


def without_graphs(model):
    """The same model without the KV caches that it has used, to search with outside of `GraphPlayer.install`."""
    return DocidModel(model.t5, model.layout, model.softmax_over)

"""CUDA graphs without a GPU: the operations of a capture are played again, on the very tensors that it used, and what
that may overwrite is overwritten.
"""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

LOOKS = {"item", "_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero"}


class Tape(TorchDispatchMode):
    """The operations of a function, with the tensors that they used. Refuses what would wait for a GPU: that may not be
    captured.
    """

    def __init__(self):
        super().__init__()
        self.operations = []

    def __torch_dispatch__(self, function, types, arguments=(), kwargs=None):
        name = function.__name__.split(".")[0]
        kwargs = kwargs or {}
        assert name not in LOOKS, name
        if name in ("index", "index_put_", "index_put"):
            assert all(x is None or x.dtype == torch.long for x in arguments[1]), name
        if name == "repeat_interleave":
            assert kwargs.get("output_size") is not None
        with self:
            made = function.decompose(*arguments, **kwargs)
        if made is NotImplemented:
            made = function(*arguments, **kwargs)
            self.operations.append((function, arguments, kwargs, made))
        return made

    def play(self, output):
        """What the same operations give now in place of what they gave then."""
        now = {}

        def newest(tree):
            return tree_map(lambda x: now.get(id(x), x) if isinstance(x, torch.Tensor) else x, tree)

        for function, arguments, kwargs, made in self.operations:
            again = function(*newest(arguments), **newest(kwargs))
            now |= {id(old): new for old, new in zip(tensors(made), tensors(again), strict=True)}
        return newest(output)


def tensors(tree):
    return [x for x in tree_leaves(tree) if isinstance(x, torch.Tensor)]


class Player:
    """Stands for CUDA: holds the outputs of all graphs of a pool, and counts captures and replays."""

    def __init__(self):
        self.outputs, self.captured, self.replayed, self.names = {}, 0, 0, set()

    def capture(self, function, inputs, pool):
        with Tape() as tape:
            output = function(*inputs)
        self.names.add(function.__qualname__ if hasattr(function, "__qualname__") else function.func.__qualname__)
        mine = self.outputs.setdefault(pool, []) if pool else []
        mine.append(output)
        self.captured += 1

        def replay():
            self.replayed += 1
            for x in tensors(mine):
                if x.is_floating_point():
                    x.fill_(torch.nan)
            for old, new in zip(tensors(output), tensors(tape.play(output)), strict=True):
                old.copy_(new)

        return output, replay

"""Batches whose tensors are one block of memory, which moves between processes and to a GPU in one piece.

A batch that was divided into groups has dozens of tensors. A worker process would hand over each through a file
descriptor of its own, and the trainer copy each to the GPU by itself, which takes longer than to copy their bytes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

ALIGNMENT = 16
"""Every tensor begins at a multiple of so many bytes, as views of other types require."""


class _Place(NamedTuple):
    """Where a tensor is in the block: its first byte, its type and its shape."""

    start: int
    dtype: torch.dtype
    shape: torch.Size

    @property
    def size(self) -> int:
        """The number of its bytes."""
        return self.shape.numel() * self.dtype.itemsize

    def view(self, block: Tensor) -> Tensor:
        """The tensor, as a view of the block."""
        return block[self.start : self.start + self.size].view(self.dtype).view(self.shape)


@dataclass(frozen=True)
class _Layout:
    """A batch with the places of its tensors instead of the tensors."""

    batch: Any


def pack(batch: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the tensors of a batch, which may be in dictionaries and lists, into one: "block" [bytes], and "layout"."""
    found: list[tuple[_Place, Tensor]] = []
    end = 0

    def place(x: Any) -> Any:
        nonlocal end
        if not isinstance(x, Tensor):
            return x
        found.append((_Place(end, x.dtype, x.shape), x))
        end += -(-found[-1][0].size // ALIGNMENT) * ALIGNMENT
        return found[-1][0]

    layout = _Layout(_map(batch, place))
    block = torch.zeros(end, dtype=torch.uint8)
    for where, x in found:
        where.view(block).copy_(x)
    return {"block": block, "layout": layout}


def unpack(packed: Mapping[str, Any]) -> dict[str, Any]:
    """Return the batch that `pack` was given; its tensors are views of the block, on the block's device."""
    block = packed["block"]
    batch: dict[str, Any] = _map(packed["layout"].batch, lambda x: x.view(block) if isinstance(x, _Place) else x)
    return batch


def _map(x: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to all values in nested dictionaries and lists."""
    if isinstance(x, Mapping):
        return {name: _map(value, change) for name, value in x.items()}
    if isinstance(x, list):
        return [_map(value, change) for value in x]
    return change(x)

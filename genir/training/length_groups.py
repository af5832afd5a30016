"""Batches that are divided into groups of texts of similar length, so that little of what a model reads is padding.

Shapes: B texts of a batch, S tokens of the longest text, N documents of a text.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.training.packing import pack

GROUP_COST = {"cpu": 96, "cuda": 1024}
"""What another group costs, in tokens that could be computed in the same time. That of a GPU, on which small matrices
waste more, is an estimate.
"""
_PARTS = ("input_ids", "attention_mask", "leaves", "seen_only", "expert_keys", "expert_scores")
"""What `genir.training.batch_logps.batch_logps` reads."""


class LengthGroupCollator:
    """A collator that divides the batches of another collator into groups, by `group_by_length`, and packs them.

    num_documents: the number of documents of the collection. device: the device on which the batches are computed.
    """

    def __init__(
        self, collate: Callable[[Sequence[Any]], dict[str, Any]], num_documents: int, device: torch.device
    ) -> None:
        self.collate = collate
        self.num_documents = num_documents
        self.cost = GROUP_COST["cpu" if device.type == "cpu" else "cuda"]

    def __call__(self, examples: Sequence[Any]) -> dict[str, Any]:
        return pack(group_by_length(self.collate(examples), self.num_documents, self.cost))


def group_by_length(batch: Mapping[str, Tensor], num_documents: int, cost: int) -> dict[str, Any]:
    """Divide a batch for `batch_logps` into groups of texts of similar length, each a batch of its own.

    Returns the entries that are not read by `batch_logps` and the leaves [B, N], unchanged; groups: the batches; and
    position [B]: the index of each text in the groups, one after another.
    """
    lengths = batch["attention_mask"].sum(1)
    order = lengths.argsort(stable=True)
    query, leaf = batch["expert_keys"] // num_documents, batch["expert_keys"] % num_documents
    ends = torch.searchsorted(query, torch.arange(len(lengths) + 1))
    groups = []
    for rows in torch.split(order, divide_lengths(lengths[order].numpy(), cost)):
        size = int(lengths[rows[-1]])
        first, counts = ends[rows], ends[rows + 1] - ends[rows]
        number = torch.repeat_interleave(counts)
        chosen = torch.arange(len(number)) + (first - counts.cumsum(0) + counts)[number]
        group = {name: batch[name][rows] for name in ("leaves", "seen_only")}
        group |= {name: batch[name][rows, :size] for name in ("input_ids", "attention_mask")}
        group["expert_keys"] = number * num_documents + leaf[chosen]
        group["expert_scores"] = batch["expert_scores"][chosen]
        groups.append(group)
    rest = {name: x for name, x in batch.items() if name == "leaves" or name not in _PARTS}
    return rest | {"groups": groups, "position": order.argsort()}


def divide_lengths(lengths: NDArray[np.int64], cost: int) -> list[int]:
    """Divide ascending lengths [B] into groups of neighbours, and return their sizes.

    They minimise the number of tokens with padding, plus `cost` for each group. With c(j) for the cost of the first j
    texts, c(j) is the minimum over i < j of c(i) + (j - i) lengths[j - 1] + cost.
    """
    count = len(lengths)
    best, start = np.zeros(count + 1), np.zeros(count + 1, np.int64)
    for j in range(1, count + 1):
        costs = best[:j] + np.arange(j, 0, -1) * lengths[j - 1] + cost
        start[j] = costs.argmin()
        best[j] = costs[start[j]]
    sizes, end = [], count
    while end:
        sizes.append(end - int(start[end]))
        end = int(start[end])
    return sizes[::-1]

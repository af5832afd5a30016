"""The best of many, for each query: of candidates at a level, and of the docids that are finished.

Shapes: B queries, w columns, k documents asked for.
"""

from copy import copy

import torch
from torch import Tensor


def best(scores: Tensor, most: int) -> Tensor:
    """Mask [B, w] of the `most` best scores [B, w] of each line; of equal ones the first, and never -inf."""
    there = scores > -torch.inf
    if scores.shape[1] <= most:
        return there
    cut = scores.topk(most, dim=1).values[:, -1:]
    above = scores > cut
    equal = (scores == cut) & there
    return above | (equal & (equal.cumsum(1) <= most - above.sum(1, keepdim=True)))


def places(mask: Tensor, limit: int) -> Tensor:
    """Where a mask [c] is true, in order, [limit]; what stands after the last of them means nothing.

    Unlike `nonzero` it does not wait for a GPU. limit: at least as many as are true.
    """
    target = torch.where(mask, mask.cumsum(0) - 1, limit)
    found = torch.zeros(limit + 1, dtype=torch.long, device=mask.device)
    return found.scatter_(0, target, torch.arange(len(mask), device=mask.device))[:limit]


class Finished:
    """The k best finished docids of each query, or all if there are no more: leaves [B, k], docid numbers, best first,
    of equal ones the smaller, -1 where there are fewer; and their scores, -inf there.

    count_documents: only as many docids are kept as hold k documents. missing [B]: how many docids, or documents, there
    are too few. floor [B]: the score of the last one needed, -inf as long as some are missing: what is below it is of
    no interest any more, and log-probs only fall.
    """

    def __init__(self, queries: int, k: int, docids: int, device: torch.device, count_documents: bool = False) -> None:
        self.k, self.count_documents = k, count_documents
        self.leaves = torch.full((queries, min(k, docids)), -1, device=device)
        self.scores = torch.full(self.leaves.shape, -torch.inf, device=device)
        self.missing = torch.full((queries,), k, device=device)
        self.floor = self.scores[:, -1].clone()
        self._documents = torch.zeros_like(self.leaves)

    def add(self, leaves: Tensor, scores: Tensor, documents: Tensor) -> None:
        """Take in more docids [B, w], each held by some documents; those with the score -inf are none."""
        leaves, scores = torch.cat([self.leaves, leaves], 1), torch.cat([self.scores, scores], 1)
        documents = torch.cat([self._documents, documents if self.count_documents else torch.ones_like(documents)], 1)
        order = leaves.argsort(dim=1)
        order = order.gather(1, scores.gather(1, order).argsort(dim=1, descending=True, stable=True))[
            :, : self.leaves.shape[1]
        ]
        leaves, scores, documents = (x.gather(1, order) for x in (leaves, scores, documents))
        documents = documents.masked_fill(scores == -torch.inf, 0)
        before = documents.cumsum(1) - documents
        none = (before >= self.k) | (scores == -torch.inf)
        self.leaves, self.scores = leaves.masked_fill(none, -1), scores.masked_fill(none, -torch.inf)
        self._documents = documents.masked_fill(none, 0)
        self.missing = (self.k - self._documents.sum(1)).clamp(min=0)
        last = (~none).sum(1, keepdim=True) - 1
        floor = scores.gather(1, last.clamp(min=0))[:, 0]
        self.floor = floor.masked_fill(self.missing > 0, -torch.inf)

    def copy(self) -> "Finished":
        """The same, to go on apart; adding replaces tensors and changes none."""
        return copy(self)

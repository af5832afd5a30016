"""Top-k selection for each query: of candidates at a level, and of documents.

Shapes: B queries, w columns, c candidates of all queries, k documents asked for.
"""

from copy import copy

import torch
from torch import Tensor


def topk_mask(scores: Tensor, k: int) -> Tensor:
    """Mask [B, w] of the k highest scores in each line of [B, w]; ties go to the first, and -inf is never marked."""
    is_candidate = scores > -torch.inf
    if scores.shape[1] <= k:
        return is_candidate
    kth = scores.topk(k, dim=1).values[:, -1:]
    above = scores > kth
    equal = (scores == kth) & is_candidate
    return above | (equal & (equal.cumsum(1) <= k - above.sum(1, keepdim=True)))


def select(
    scores: Tensor, is_complete: Tensor | None, beams: int, finish_all: bool = False
) -> tuple[Tensor | None, Tensor]:
    """Prune the candidates of a level, as Hugging Face's beam search does.

    Those of the `beams` best candidates of a query that are complete docids are finished. Of the incomplete candidates,
    the `beams` best are continued.

    scores [B, w]: -inf marks padding and dropped candidates. is_complete [B, w]: whether a candidate is a complete
    docid; None means that none is. finish_all: finish every complete candidate, rather than only those among the best.
    Returns the masks [B, w] of the finished candidates (None if is_complete is None) and of the continued ones.
    """
    if is_complete is None:
        return None, topk_mask(scores, beams)
    finished = is_complete & topk_mask(scores, scores.shape[1] if finish_all else beams)
    return finished, topk_mask(scores.masked_fill(is_complete, -torch.inf), beams)


def true_indices(mask: Tensor, size: int) -> Tensor:
    """Indices [size] at which a mask [c] is true, in order, followed by arbitrary indices.

    size: at least the number of true entries. Unlike `nonzero`, this does not synchronise with a GPU.
    """
    target = torch.where(mask, mask.cumsum(0) - 1, size)
    indices = torch.zeros(size + 1, dtype=torch.long, device=mask.device)
    return indices.scatter_(0, target, torch.arange(len(mask), device=mask.device))[:size]


class TopK:
    """The k best documents of each query that a search has found so far.

    leaves [B, k]: leaves of the trie, best first, ties by number, followed by -1 if there are fewer. scores [B, k]:
    their log p, followed by -inf if there are fewer. remaining [B]: how many documents are still missing. threshold
    [B]: the score of the last one needed, -inf while some are missing. A partial docid below it cannot become one of
    the best any more, because its score never rises.
    """

    def __init__(self, queries: int, k: int, documents: int, device: torch.device) -> None:
        self.k = min(k, documents)
        self.leaves = torch.full((queries, self.k), -1, device=device)
        self.scores = torch.full(self.leaves.shape, -torch.inf, device=device)

    @property
    def remaining(self) -> Tensor:
        """How many documents of each query are still missing [B]."""
        return (self.scores == -torch.inf).sum(1)

    @property
    def threshold(self) -> Tensor:
        """The score of each query's last document [B], -inf while some are missing."""
        return self.scores[:, -1]

    def add(self, leaves: Tensor, scores: Tensor) -> None:
        """Add documents, given as leaves [B, w], with their scores; a score of -inf marks padding."""
        leaves, scores = torch.cat([self.leaves, leaves], 1), torch.cat([self.scores, scores], 1)
        order = leaves.argsort(dim=1)
        by_score = scores.gather(1, order).argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, by_score)[:, : self.k]
        self.scores = scores.gather(1, order)
        self.leaves = leaves.gather(1, order).masked_fill(self.scores == -torch.inf, -1)

    def copy(self) -> "TopK":
        """Return an independent copy. It is shallow, since `add` replaces tensors and never changes them in place."""
        return copy(self)

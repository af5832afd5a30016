"""Top-k selection for each query: of candidates at a level, and of complete docids.

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
    """The k best complete docids of each query that a search has found so far.

    leaves [B, k]: docid numbers, best first, ties by number, followed by -1 if there are fewer. scores [B, k]: their
    log p, followed by -inf if there are fewer. remaining [B]: how many docids (or documents) are still missing.
    threshold [B]: the score of the last one needed, -inf while some are missing. A partial docid below it cannot become
    one of the best any more, because its score never rises.

    count_documents: keep only as many docids as are needed to cover k documents, instead of k docids.
    """

    def __init__(self, queries: int, k: int, docids: int, device: torch.device, count_documents: bool = False) -> None:
        self.k, self.count_documents = k, count_documents
        self.leaves = torch.full((queries, min(k, docids)), -1, device=device)
        self.scores = torch.full(self.leaves.shape, -torch.inf, device=device)
        self.remaining = torch.full((queries,), k, device=device)
        self.threshold = self.scores[:, -1].clone()
        self._documents = torch.zeros_like(self.leaves)

    def add(self, leaves: Tensor, scores: Tensor, documents: Tensor) -> None:
        """Add docids [B, w] with their scores and their numbers of documents; a score of -inf marks padding."""
        leaves, scores = torch.cat([self.leaves, leaves], 1), torch.cat([self.scores, scores], 1)
        documents = torch.cat([self._documents, documents if self.count_documents else torch.ones_like(documents)], 1)
        order = leaves.argsort(dim=1)
        by_score = scores.gather(1, order).argsort(dim=1, descending=True, stable=True)
        order = order.gather(1, by_score)[:, : self.leaves.shape[1]]
        leaves, scores, documents = (x.gather(1, order) for x in (leaves, scores, documents))
        documents = documents.masked_fill(scores == -torch.inf, 0)
        before = documents.cumsum(1) - documents
        unused = (before >= self.k) | (scores == -torch.inf)
        self.leaves, self.scores = leaves.masked_fill(unused, -1), scores.masked_fill(unused, -torch.inf)
        self._documents = documents.masked_fill(unused, 0)
        self.remaining = (self.k - self._documents.sum(1)).clamp(min=0)
        last = (~unused).sum(1, keepdim=True) - 1
        threshold = scores.gather(1, last.clamp(min=0))[:, 0]
        self.threshold = threshold.masked_fill(self.remaining > 0, -torch.inf)

    def copy(self) -> "TopK":
        """Return an independent copy. It is shallow, since `add` replaces tensors and never changes them in place."""
        return copy(self)

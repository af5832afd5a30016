"""Forced tails: the codes that are left of docids which nothing but themselves can come of, scored without a search.

Log-probs only fall, so the tail of a docid whose score so far is below the k-th best finished one is not computed. The
best are looked at first, and a piece of their tails at a time, so that this saves the most.

Shapes: B queries, n docids, L levels, T tokens run at once, k documents asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoder import Memory, Past, Shares
from genir.model import DocidModel
from genir.ranking import Finished
from genir.trie import Allowed, Trie

_ROWS = {"cpu": 256, "cuda": 8192}
"""Decoder tokens that a pass should have: matrix products with fewer rows take hardly less time."""
_TAILS, _CODES = 16, 8
"""Tails of a query, and codes of each, that a pass should have at least: fewer make many passes, more run codes that
the bound would have spared.
"""


class Singles(NamedTuple):
    """Partial docids of which one docid can come each, [n], in the order of queries: its query, its number, its score
    so far; path [n, m]: where each of the m codes that it has kept its keys and values.
    """

    query: Tensor
    leaf: Tensor
    score: Tensor
    path: Tensor


class Tails:
    """All singles of a search with what is known of them. The bookkeeping is on the CPU, codes [n, L] too."""

    def __init__(self, trie: Trie, allowed: Allowed | None, parked: list[Singles]) -> None:
        device = trie.codes.device
        width = trie.depth
        leaf = torch.cat([x.leaf for x in parked])
        codes = trie.codes[leaf].long()
        documents = trie.documents_of(leaf, allowed)
        self.codes, self.leaf, self.documents = codes.cpu(), leaf.cpu(), documents.cpu()
        self.query = torch.cat([x.query for x in parked]).cpu()
        self.score = torch.cat([x.score for x in parked]).cpu()
        self.path = torch.full((len(leaf), width), -1)
        at = 0
        for x in parked:
            self.path[at : at + len(x.leaf), : x.path.shape[1]] = x.path.cpu()
            at += len(x.leaf)
        self.done = (self.path >= 0).sum(1)
        self.length = (self.codes >= 0).sum(1)
        self.device = device

    def open(self, floor: Tensor) -> Tensor:
        """Those that may still be among the best, by query, best first."""
        going = ((self.done < self.length) & (self.score >= floor[self.query])).nonzero()[:, 0]
        going = going[self.score[going].argsort(descending=True, stable=True)]
        return going[self.query[going].argsort(stable=True)]


def score_tails(model: DocidModel, memory: Memory, past: Past, tails: Tails, finished: Finished) -> None:
    """Score all tails that may bring a docid among the best k, and add those docids to `finished`."""
    queries, rows = len(finished.leaves), _ROWS[model.device.type]
    while len(going := tails.open(finished.floor.cpu())):
        counts = tails.query[going].bincount(minlength=queries)
        rank = torch.arange(len(going)) - (counts.cumsum(0) - counts)[tails.query[going]]
        needed = bool((counts <= finished.missing.cpu()).all())
        chosen = going if needed else going[rank < max(_TAILS, rows // (_CODES * int((counts > 0).sum())))]
        left = int((tails.length - tails.done)[chosen].max())
        length = max(1, 8 * rows // len(chosen)) if needed else max(_CODES, rows // len(chosen))
        _advance(model, memory, past, tails, chosen, min(left, length), queries)
        _collect(tails, chosen, finished)


def _advance(
    model: DocidModel, memory: Memory, past: Past, tails: Tails, chosen: Tensor, length: int, queries: int
) -> None:
    """Score the next `length` codes of some tails, or as many as they have."""
    device = model.device
    done = tails.done[chosen]
    levels = done.unsqueeze(1) + torch.arange(length)
    real = levels < tails.length[chosen].unsqueeze(1)
    levels = levels.clamp(max=tails.codes.shape[1] - 1)
    codes = tails.codes[chosen]
    inputs = model.inputs(codes.to(device)).gather(1, levels.to(device))
    shares = Shares.of(tails.query[chosen].bincount(minlength=queries).tolist(), device)
    before = tails.path[chosen, : int(done.max())].to(device)
    hidden, rows = model.extend(memory, shares, past, inputs, before)
    wanted = codes.gather(1, levels).clamp(min=0)
    logps = torch.zeros(real.shape)
    at = real.flatten().nonzero()[:, 0]
    found = model.logps_at(hidden.flatten(0, 1)[at.to(device)], levels.flatten()[at], wanted.flatten()[at].to(device))
    logps.view(-1)[at] = found.cpu()
    tails.score[chosen] = sum_in_order(tails.score[chosen], logps)
    tails.path[chosen.unsqueeze(1).expand_as(levels)[real], levels[real]] = rows.cpu()[real]
    tails.done[chosen] += real.sum(1)


def sum_in_order(score: Tensor, logps: Tensor) -> Tensor:
    """score [n] + logps [n, T], added one after the other as a search that goes code by code does."""
    for column in logps.unbind(1):
        score = score + column
    return score


def _collect(tails: Tails, chosen: Tensor, finished: Finished) -> None:
    """Add those that have come to their end."""
    ended = chosen[tails.done[chosen] == tails.length[chosen]]
    if len(ended):
        shares = Shares.of(tails.query[ended].bincount(minlength=len(finished.leaves)).tolist(), ended.device)
        columns = (tails.leaf[ended], tails.score[ended], tails.documents[ended])
        filled = [shares.matrix(x, fill) for x, fill in zip(columns, (-1, -torch.inf, 0), strict=True)]
        finished.add(*(x.to(finished.leaves.device) for x in filled))

"""Forced tails: the codes that are left of docids once few of them can be written, scored without a search.

Log-probs only fall, so the tail of a docid whose score so far is below the k-th best finished one is not computed. The
best are looked at first, and a piece of their tails at a time, so that this saves the most. Where there are more docids
than beams, a beam search would lose some on the way; which, is told from the scores afterwards.

Shapes: B queries, n docids, L levels, T tokens run at once, k documents asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.topk import Finished, best
from genir.decoding.trie import Allowed, Trie
from genir.errors import GenirError
from genir.model import DocidModel
from genir.t5.cross_attention import Memory
from genir.t5.kv_cache import Past
from genir.t5.ragged import Shares

_ROWS = {"cpu": 256, "cuda": 2048}
"""Decoder tokens that a pass should have: matrix products with fewer rows take hardly less time."""
_TAILS, _CODES = 24, 3
"""Tails of a query, and codes of each, that a pass should have at least: fewer make many passes, more run codes that
the bound would have spared.
"""
_ALL_TAILS = {"cpu": 0, "cuda": 512}
"""Tails of all queries together that a pass may have anyway: on a GPU few passes count more than what is spared."""


class Singles(NamedTuple):
    """Partial docids of which one docid can come each, [n], in the order of queries: its query, its number, its score
    so far; path [n, m]: where each of the m codes that it has kept its keys and values.
    """

    query: Tensor
    leaf: Tensor
    score: Tensor
    path: Tensor


class Tails:
    """All singles of a search with what is known of them, by query, then in docid order. The bookkeeping is on the
    CPU.

    codes, scores [n, L]: a docid's codes and the log p of it up to each of them, -inf where that is not known; score,
    done [n]: the last that is known, and of how many codes. lost [n]: those that a beam search would not have found.
    """

    def __init__(self, trie: Trie, allowed: Allowed | None, parked: list[Singles]) -> None:
        self.device = trie.codes.device
        leaf, query = torch.cat([x.leaf for x in parked]), torch.cat([x.query for x in parked])
        order = leaf.argsort()
        order = order[query[order].argsort(stable=True)]
        leaf, self.query = leaf[order], query[order].cpu()
        self.leaf, self.codes = leaf.cpu(), trie.codes[leaf].long().cpu()
        self.documents = trie.documents_of(leaf, allowed).cpu()
        self.score = torch.cat([x.score for x in parked])[order].cpu()
        paths = [torch.nn.functional.pad(x.path, (0, trie.depth - x.path.shape[1]), value=-1) for x in parked]
        self.path = torch.cat(paths)[order].cpu()
        self.start = (self.path >= 0).sum(1)
        self.done = self.start.clone()
        self.length = (self.codes >= 0).sum(1)
        self.scores = torch.full(self.codes.shape, -torch.inf)
        self.lost = torch.zeros(len(leaf), dtype=torch.bool)

    def open(self, floor: Tensor) -> Tensor:
        """Those that may still be among the best, by query, best first."""
        going = ((self.done < self.length) & (self.score >= floor[self.query])).nonzero()[:, 0]
        going = going[self.score[going].argsort(descending=True, stable=True)]
        return going[self.query[going].argsort(stable=True)]

    def piece(self, chosen: Tensor, most: int) -> Tensor:
        """How many codes of some to score next, [c]: at most so many, and all pieces of a tail of about one length."""
        left = (self.length - self.done)[chosen]
        pieces = (left + most - 1) // most
        return (left + pieces - 1) // pieces

    def finish(self, finished: Finished) -> Finished:
        """What is finished together with those that are at their end and not lost."""
        ended = ((self.done == self.length) & ~self.lost).nonzero()[:, 0]
        found = finished.copy()
        if len(ended):
            shares = Shares.of(self.query[ended].bincount(minlength=len(found.leaves)).tolist(), ended.device)
            columns = (self.leaf[ended], self.score[ended], self.documents[ended])
            filled = [shares.matrix(x, fill) for x, fill in zip(columns, (-1, -torch.inf, 0), strict=True)]
            found.add(*(x.to(self.device) for x in filled))
        return found

    def lose(self, beams: int, floor: Tensor) -> bool:
        """Mark those among the best that so many beams would have lost; whether there are more of them now."""
        if int(self.query.bincount().max()) <= beams:
            return False
        there = (self.done == self.length) & (self.score >= floor[self.query]) & ~self.lost
        there &= ~survivors(self.query, self.codes, self.start, self.scores, beams)
        self.lost |= there
        return bool(there.any())


def score_tails(
    model: DocidModel, memory: Memory, past: Past, tails: Tails, finished: Finished, beams: int | None
) -> tuple[Finished, Tensor]:
    """Score all tails that may bring a docid among the best k; what is finished then, and the best score [B] among
    those that `beams` beams would have lost, -inf where they lose none. beams None: as many as there are docids.
    """
    queries, rows = len(finished.leaves), _ROWS[model.device.type]
    tails_each = max(_TAILS, _ALL_TAILS[model.device.type] // queries)
    while True:
        found = tails.finish(finished)
        floor = found.floor.cpu()
        going = tails.open(floor)
        if len(going):
            counts = tails.query[going].bincount(minlength=queries)
            rank = torch.arange(len(going)) - (counts.cumsum(0) - counts)[tails.query[going]]
            needed = bool((counts <= found.missing.cpu()).all())
            chosen = going if needed else going[rank < tails_each]
            most = max(1, 8 * rows // len(chosen)) if needed else max(_CODES, rows // len(chosen))
            _advance(model, memory, past, tails, chosen, tails.piece(chosen, most), queries)
        elif beams is None or not tails.lose(beams, floor):
            lost = torch.full((queries,), -torch.inf).scatter_reduce(
                0, tails.query, tails.score.masked_fill(~tails.lost, -torch.inf), "amax"
            )
            return found, lost.to(model.device)


def _advance(
    model: DocidModel, memory: Memory, past: Past, tails: Tails, chosen: Tensor, piece: Tensor, queries: int
) -> None:
    """Score the next codes of some tails: `piece` [c] says how many of each."""
    device = model.device
    done = tails.done[chosen]
    place = torch.arange(int(piece.max()))
    levels = done.unsqueeze(1) + place
    real = place < piece.unsqueeze(1)
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
    if bool(logps.isnan().any()):
        raise no_number()
    scores = sums_in_order(tails.score[chosen], logps)
    which = chosen.unsqueeze(1).expand_as(levels)[real]
    tails.scores[which, levels[real]] = scores[real]
    tails.score[chosen] = scores[:, -1]
    tails.path[which, levels[real]] = rows.cpu()[real]
    tails.done[chosen] += piece


def no_number() -> GenirError:
    """What is wrong when a score is NaN."""
    return GenirError(
        "the model gives scores that are no numbers (NaN): its training diverged (a lower learning_rate is the first "
        "remedy), or its weights are damaged"
    )


def sums_in_order(score: Tensor, logps: Tensor) -> Tensor:
    """score [n] + logps [n, T] up to each column, added one after the other as a search that goes code by code does."""
    sums = []
    for column in logps.unbind(1):
        score = score + column
        sums.append(score)
    return torch.stack(sums, 1)


def survivors(query: Tensor, codes: Tensor, start: Tensor, scores: Tensor, beams: int) -> Tensor:
    """Whether `beams` beams a query would have kept each of some docids, [n], given that they kept the first `start`
    [n] codes of all, and that there are no others.

    query [n], rising; codes [n, L], of a query in docid order; scores [n, L]: log p of a docid up to each code, -inf
    where it is so low that it is of no interest, or told with another docid that begins alike.
    """
    length = (codes >= 0).sum(1)
    apart = (codes[1:] != codes[:-1]).cumsum(1) + (query[1:] != query[:-1]).unsqueeze(1) > 0
    node = torch.cat([torch.zeros_like(codes[:1]), apart.long()]).cumsum(0)  # one number for docids alike so far
    kept = torch.ones(len(query), dtype=torch.bool)
    for level in range(codes.shape[1]):
        there = (kept & (start <= level) & (level < length)).nonzero()[:, 0]
        if not len(there) or int(query[there].bincount().max()) <= beams:
            continue
        first = torch.cat([there[:1], there[1:][node[there[1:], level] != node[there[:-1], level]]])
        shares = Shares.of(query[first].bincount().tolist(), first.device)
        known = torch.full((len(query),), -torch.inf)
        known = known.scatter_reduce(0, node[there, level], scores[there, level], "amax")
        candidates = shares.matrix(known[node[first, level]], -torch.inf)
        ended = shares.matrix(length[first] == level + 1)
        among = (ended & best(candidates, beams)) | best(candidates.masked_fill(ended, -torch.inf), beams)
        alive = torch.zeros(len(query), dtype=torch.bool)
        alive[node[first, level]] = shares.flat(among)
        kept[there] = alive[node[there, level]]
    return kept

"""One level of a beam search, as functions of tensors that look at no value on the CPU.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.topk import best, places
from genir.decoding.trie import Allowed, Trie
from genir.t5.cuda_graphs import Replays, filled
from genir.t5.ragged import Shares


class Beams(NamedTuple):
    """Partial docids of all queries, by query, then in docid order, [n] each; one stands for the docids first ..
    last - 1 of the trie, which begin with it. Empty ones, for which first = last, mean nothing.
    """

    query: Tensor
    first: Tensor
    last: Tensor
    score: Tensor

    def at(self, kept: Tensor | slice) -> "Beams":
        """Those at some places, or where a mask is true."""
        return Beams(*(x[kept] for x in self))


class Below(NamedTuple):
    """What is below the beams of each query: how many beams, children and docids there are, and whether these are so
    few that the beams are set aside; [4, B] on the device, and as lists.
    """

    there: Tensor
    beams: list[int]
    children: list[int]
    aside: list[int]

    @classmethod
    def of(cls, there: Tensor) -> "Below":
        """It is where a GPU is waited for, once a level."""
        beams, children, _, aside = there.tolist()
        return cls(there, beams, children, aside)

    def rest(self) -> "Below":
        """What is left when those to be set aside are."""
        left = ([0 if gone else x for x, gone in zip(y, self.aside, strict=True)] for y in self[1:])
        return Below(self.there * (1 - self.there[3]), *left)


def outlook(trie: Trie, level: int, live: Beams, queries: int, crowd: int) -> Tensor:
    """What `Below` holds. crowd: docids of a query up to which its beams are set aside, if at most two each."""
    if level == trie.depth:
        return live.first.new_zeros((4, queries))
    sizes = live.last - live.first
    children = trie.children(level, live.first, live.last)
    each = torch.stack([(sizes > 0).to(children.dtype), children, sizes.to(children.dtype)])
    sums = each.new_zeros((3, queries)).index_add_(1, live.query, each)
    aside = (sums[2] > 0) & (sums[2] <= (2 * sums[0]).clamp(max=crowd))
    return torch.cat([sums, aside.unsqueeze(0)])


def grow(
    trie: Trie, level: int, live: Beams, logps: Tensor, floor: Tensor, total: int, allowed: Allowed | None = None
) -> tuple[Tensor, Beams]:
    """All beams grown by every code that the trie allows: the place of its parent for each, [c], and themselves; those
    that are of no interest, since they score less than floor [B], have the score -inf.

    logps [n, codes of the level]; total: c, see `Trie.expand`.
    """
    owner, first, last, code = trie.expand(level, live.first, live.last, total)
    query = live.query[owner]
    score = live.score[owner] + logps[owner, code]
    if allowed is not None:
        first, last = allowed.narrow(first, last)
    return owner, Beams(query, first, last, score.masked_fill((first >= last) | (score < floor[query]), -torch.inf))


def keep(owner: Tensor, grown: Beams, kept: Tensor, room: int) -> tuple[Tensor, Beams]:
    """The candidates that are kept [c], in order, with their parents' places; empty ones fill the room."""
    where = places(kept, room)
    live = grown.at(where)
    there = torch.arange(room, device=kept.device) < kept.sum()
    return owner[where], live._replace(last=torch.where(there, live.last, live.first))


def step_by_graph(
    replays: Replays,
    trie: Trie,
    level: int,
    beams: int,
    crowd: int,
    live: Beams,
    logps: Tensor,
    below: Below,
    floor: Tensor,
    pruned: Tensor,
) -> tuple[Tensor, Beams, Tensor, Tensor]:
    """A level in the middle of docids of one length, as one graph. Beams are filled up with empty ones, and so are
    their children, so that the same shapes return.

    logps [n, codes of the level]. Returns for each kept one the place of its parent and itself, pruned [B] with what
    has now been pruned, and the outlook.
    """
    queries = len(floor)
    room, total = queries * beams + 1, _power_of_two(sum(below.children))
    width = total if queries == 1 else _power_of_two(max(below.children) + 1)  # the last column is for what is too many

    def run(
        query: Tensor,
        first: Tensor,
        last: Tensor,
        score: Tensor,
        logps: Tensor,
        children: Tensor,
        floor: Tensor,
        pruned: Tensor,
    ) -> tuple[Tensor, Beams, Tensor, Tensor]:
        owner, grown = grow(trie, level, Beams(query, first, last, score), logps, floor, total)
        place = torch.arange(total, device=query.device) - (children.cumsum(0) - children)[grown.query]
        shares = Shares(grown.query, place.clamp(max=width - 1), queries, width, queries == 1)
        scores = shares.matrix(grown.score, -torch.inf)
        going = best(scores, beams)
        owner, kept = keep(owner, grown, shares.flat(going), room)
        left = scores.masked_fill(going, -torch.inf).amax(1)
        return owner, kept, torch.maximum(pruned, left), outlook(trie, level + 1, kept, queries, crowd)

    whole = (filled(x, 0, room, value) for x, value in zip(live, (queries - 1, 0, 0, -torch.inf), strict=True))
    name = ("step", id(trie), level, beams, crowd, total, width)
    arguments = (*whole, filled(logps, 0, room), below.there[1], floor, pruned)
    owner, kept, pruned, there = replays(name, run, *arguments)
    return owner.clone(), Beams(*(x.clone() for x in kept)), pruned.clone(), there.clone()


def _power_of_two(least: int) -> int:
    return 1 << max(6, (least - 1).bit_length())

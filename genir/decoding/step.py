"""One level of a beam search, as functions of tensors that can be captured as a CUDA graph.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.topk import select, true_indices
from genir.docids.trie import AllowedLeaves, Children, Trie
from genir.t5.cuda_graphs import CUDAGraphCache, pad_to
from genir.t5.ragged import RaggedLayout

_BEAMS, _CHILDREN, _DOCIDS, _DIRECT = range(4)
"""What the rows of `DescendantCounts.on_device` count."""


class Beams(NamedTuple):
    """Partial docids of all queries, [n] each, grouped by query and then in docid order.

    The docids first .. last - 1 of the trie are those that begin with the beam. If first = last, the beam is padding.
    """

    query: Tensor
    first: Tensor
    last: Tensor
    score: Tensor

    def take(self, which: Tensor | slice) -> "Beams":
        """Select the beams at some indices, or those for which a mask is true."""
        return Beams(*(x[which] for x in self))


class DescendantCounts(NamedTuple):
    """For each query, the numbers of its beams and of their children, and whether its docids are scored directly.

    on_device: the counts as one tensor [4, B], with the rows beams, children, docids and direct (0 or 1). beams,
    children, direct: the same as lists on the CPU.
    """

    on_device: Tensor
    beams: list[int]
    children: list[int]
    direct: list[int]

    @classmethod
    def from_tensor(cls, on_device: Tensor) -> "DescendantCounts":
        """Copy the counts [4, B] to the CPU: the only GPU synchronisation per level."""
        rows = on_device.tolist()
        return cls(on_device, rows[_BEAMS], rows[_CHILDREN], rows[_DIRECT])

    @property
    def beams_on_device(self) -> Tensor:
        """Number of beams of each query [B]."""
        return self.on_device[_BEAMS]

    @property
    def children_on_device(self) -> Tensor:
        """Number of children of each query's beams [B]."""
        return self.on_device[_CHILDREN]

    @property
    def direct_on_device(self) -> Tensor:
        """1 for each query whose docids are scored directly, else 0 [B]."""
        return self.on_device[_DIRECT]

    def without_direct(self) -> "DescendantCounts":
        """The counts without the queries that are scored directly, whose counts become 0."""
        beams, children, direct = (
            [0 if is_direct else x for x, is_direct in zip(counts, self.direct, strict=True)]
            for counts in (self.beams, self.children, self.direct)
        )
        return DescendantCounts(self.on_device * (1 - self.direct_on_device), beams, children, direct)


def count_descendants(trie: Trie, level: int, live: Beams, queries: int, max_direct: int) -> Tensor:
    """Compute the tensor [4, B] of `DescendantCounts` for beams of `level` codes.

    max_direct: a query is scored directly if at most this many docids, and at most two per beam, are below its beams.
    """
    if level == trie.depth:
        return live.first.new_zeros((4, queries))
    sizes = live.last - live.first
    children = trie.count_children(level, live.first, live.last)
    each = torch.stack([(sizes > 0).to(children.dtype), children, sizes.to(children.dtype)])
    sums = each.new_zeros((3, queries)).index_add_(1, live.query, each)
    direct = (sums[_DOCIDS] > 0) & (sums[_DOCIDS] <= (2 * sums[_BEAMS]).clamp(max=max_direct))
    return torch.cat([sums, direct.unsqueeze(0)])


def expand_beams(
    trie: Trie,
    level: int,
    live: Beams,
    logps: Tensor,
    threshold: Tensor,
    total: int,
    allowed: AllowedLeaves | None = None,
) -> tuple[Tensor, Beams]:
    """Extend all beams by every code that the trie allows.

    logps [n, codes of the level]: log-probs of the next code, of which those after a complete docid are ignored.
    threshold, allowed: see `make_candidates`. total: number of candidates c, see `Trie.expand`.
    Returns the index [c] of each candidate's parent among the beams, and the candidates.
    """
    children = trie.expand(level, live.first, live.last, total)
    # Documents that share a docid are told apart by numbers, which are not codes of a model and have no probability.
    codes = children.code.clamp(max=logps.shape[1] - 1)
    chosen = logps[children.parent, codes].masked_fill(~trie.is_generated(level, live.first)[children.parent], 0)
    return children.parent, make_candidates(live, children, chosen, threshold, allowed)


def make_candidates(
    live: Beams, children: Children, logps: Tensor, threshold: Tensor, allowed: AllowedLeaves | None = None
) -> Beams:
    """Make the candidates of a level from the children of its beams, whose log-probabilities are logps [c].

    threshold [B]: candidates below it get the score -inf. allowed: documents to search among; candidates without any
    of them get the score -inf too.
    """
    first, last = children.first, children.last
    query = live.query[children.parent]
    score = live.score[children.parent] + logps
    if allowed is not None:
        first, last = allowed.narrow(first, last)
    hopeless = (first >= last) | (score < threshold[query])
    return Beams(query, first, last, score.masked_fill(hopeless, -torch.inf))


def select_beams(parent: Tensor, candidates: Beams, kept: Tensor, capacity: int) -> tuple[Tensor, Beams]:
    """Select the candidates for which the mask `kept` [c] is true, in order, and pad them to `capacity` beams.

    parent [c]: index of each candidate's parent. Returns the parents of the selected candidates, and the candidates.
    """
    indices = true_indices(kept, capacity)
    live = candidates.take(indices)
    is_real = torch.arange(capacity, device=kept.device) < kept.sum()
    return parent[indices], live._replace(last=torch.where(is_real, live.last, live.first))


def step_by_graph(
    graphs: CUDAGraphCache,
    trie: Trie,
    level: int,
    beams: int,
    max_direct: int,
    live: Beams,
    logps: Tensor,
    counts: DescendantCounts,
    threshold: Tensor,
    pruned: Tensor,
) -> tuple[Tensor, Beams, Tensor, Tensor]:
    """Extend all beams by one code and prune, as one CUDA graph; for docids of fixed length, before their last level.

    The beams and their children are padded, so that few different shapes occur.
    logps [n, codes of the level]. threshold [B]: candidates below it get the score -inf. pruned [B]: the best score
    that was pruned so far.
    Returns the parent of each new beam, the new beams, pruned [B] after this level, and the tensor of
    `DescendantCounts`.
    """
    queries = len(threshold)
    capacity, total = queries * beams + 1, _round_up_to_power_of_two(sum(counts.children))
    # The last column collects the superfluous children of the padding beam.
    width = total if queries == 1 else _round_up_to_power_of_two(max(counts.children) + 1)

    def run(
        query: Tensor,
        first: Tensor,
        last: Tensor,
        score: Tensor,
        logps: Tensor,
        children: Tensor,
        threshold: Tensor,
        pruned: Tensor,
    ) -> tuple[Tensor, Beams, Tensor, Tensor]:
        parent, candidates = expand_beams(trie, level, Beams(query, first, last, score), logps, threshold, total)
        column = torch.arange(total, device=query.device) - (children.cumsum(0) - children)[candidates.query]
        layout = RaggedLayout(candidates.query, column.clamp(max=width - 1), queries, width, queries == 1)
        scores = layout.pad(candidates.score, -torch.inf)
        _, continued = select(scores, None, beams)
        parent, kept = select_beams(parent, candidates, layout.unpad(continued), capacity)
        best_pruned = scores.masked_fill(continued, -torch.inf).amax(1)
        below = count_descendants(trie, level + 1, kept, queries, max_direct)
        return parent, kept, torch.maximum(pruned, best_pruned), below

    padded = (pad_to(x, 0, capacity, value) for x, value in zip(live, (queries - 1, 0, 0, -torch.inf), strict=True))
    name = ("step", id(trie), level, beams, max_direct, total, width)
    arguments = (*padded, pad_to(logps, 0, capacity), counts.children_on_device, threshold, pruned)
    parent, kept, pruned, below = graphs(name, run, *arguments)
    return parent.clone(), Beams(*(x.clone() for x in kept)), pruned.clone(), below.clone()


def _round_up_to_power_of_two(count: int) -> int:
    """Round up to a power of two, at least 64."""
    return 1 << max(6, (count - 1).bit_length())

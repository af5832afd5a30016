"""One level of a beam search, as functions of tensors that read no value on the CPU.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.topk import select, true_indices
from genir.decoding.trie import Allowed, Trie
from genir.t5.cuda_graphs import CUDAGraphCache, pad_to
from genir.t5.ragged import RaggedLayout

_BEAMS, _CHILDREN, _DOCIDS, _DIRECT = range(4)
"""The rows of `DescendantCounts.on_device`."""


class Beams(NamedTuple):
    """Partial docids of all queries, [n] each, grouped by query and then in docid order.

    A beam stands for the docids first .. last - 1 of the trie, which begin with it. Where first = last, it is padding.
    """

    query: Tensor
    first: Tensor
    last: Tensor
    score: Tensor

    def take(self, which: Tensor | slice) -> "Beams":
        """The beams at some indices, or where a mask is true."""
        return Beams(*(x[which] for x in self))


class DescendantCounts(NamedTuple):
    """Counts for each query of its beams, of their children, and whether the docids below them are scored directly.

    on_device: all counts as one tensor [4, B] (beams, children, docids, direct). beams, children, direct: as lists.
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
        """The counts once the beams of the queries that are scored directly are removed."""
        beams, children, direct = (
            [0 if is_direct else x for x, is_direct in zip(counts, self.direct, strict=True)]
            for counts in (self.beams, self.children, self.direct)
        )
        return DescendantCounts(self.on_device * (1 - self.direct_on_device), beams, children, direct)


def count_descendants(trie: Trie, level: int, live: Beams, queries: int, max_direct: int) -> Tensor:
    """The tensor [4, B] of `DescendantCounts` for beams of `level` codes.

    max_direct: a query is scored directly once at most this many docids are below its beams, and at most two per beam.
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
    trie: Trie, level: int, live: Beams, logps: Tensor, threshold: Tensor, total: int, allowed: Allowed | None = None
) -> tuple[Tensor, Beams]:
    """Extend all beams by every code that the trie allows.

    logps [n, codes of the level]. threshold [B]: candidates below it get the score -inf. total: c, see `Trie.expand`.
    Returns the index of each candidate's parent among the beams [c], and the candidates.
    """
    parent, first, last, code = trie.expand(level, live.first, live.last, total)
    query = live.query[parent]
    score = live.score[parent] + logps[parent, code]
    if allowed is not None:
        first, last = allowed.narrow(first, last)
    hopeless = (first >= last) | (score < threshold[query])
    return parent, Beams(query, first, last, score.masked_fill(hopeless, -torch.inf))


def select_beams(parent: Tensor, candidates: Beams, kept: Tensor, capacity: int) -> tuple[Tensor, Beams]:
    """The candidates where the mask `kept` [c] is true, in order, with their parents, padded to `capacity` beams."""
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
    """One level in the middle of docids of fixed length, as one CUDA graph.

    The beams and their children are padded, so that few different shapes occur.
    logps [n, codes of the level]. pruned [B]: the best score that was pruned so far.
    Returns the parent of each kept beam, the kept beams, pruned [B] after this level, and `count_descendants`.
    """
    queries = len(threshold)
    capacity, total = queries * beams + 1, _round_up_to_power_of_two(sum(counts.children))
    # The last column takes the superfluous children of the padding beam.
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
    """The smallest power of two that is at least `count` and at least 64."""
    return 1 << max(6, (count - 1).bit_length())

"""Forced tails of a softmax over the vocabulary: the remaining codes of the last docids, scored without a search.

Under this softmax even a code without alternatives costs probability, and therefore a decoder step. The score of a
docid never rises as codes are added, so the tail of a docid whose score so far is below the k-th best complete docid is
not computed. This saves the most if the best docids come first, a chunk of their tails at a time. If there are more
docids than beams, a beam search would have pruned some of them on the way; this pruning is replayed afterwards from the
scores of each level.

Shapes: B queries, n docids, L levels, T tokens run at once, c docids in one chunk, k documents asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.deadline import Deadline
from genir.decoding.search import nan_scores_error
from genir.decoding.topk import TopK, select
from genir.docids.trie import Trie
from genir.model import DocidModel
from genir.t5.cross_attention import CrossAttentionCache
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout

_TOKENS_PER_PASS = {"cpu": 256, "cuda": 2048}
"""Decoder tokens that a pass should have at least: matrix products with fewer rows take almost as long."""
_MIN_TAILS, _MIN_CODES = 24, 3
"""Tails of a query, and codes of each tail, that a pass should have at least. Lower numbers lead to more passes, higher
ones to codes that a threshold from an earlier pass would have made unnecessary.
"""
_MIN_TAILS_OF_ALL = {"cpu": 0, "cuda": 512}
"""Tails of all queries together that a pass may always have: on a GPU, few passes matter more than few codes."""


class Completions(NamedTuple):
    """Docids whose first codes have been scored and whose remaining codes are known, [n] each, grouped by query.

    query: the query of each docid. leaf: the docid's number in the trie. score: log p of the codes scored so far.
    slots [n, m]: slots in the KV cache of the m decoder tokens that have been run.
    """

    query: Tensor
    leaf: Tensor
    score: Tensor
    slots: Tensor


class ForcedTails:
    """All completions of a search and their scores so far, grouped by query and then in docid order, on the CPU.

    codes [n, L]: the codes of each docid. scores [n, L]: its log p up to each code, -inf if that is not known. score,
    done [n]: the last known log p, and the number of codes that it covers. lost [n]: whether a beam search would have
    pruned the docid.
    """

    def __init__(self, trie: Trie, pending: list[Completions]) -> None:
        self.device = trie.codes.device
        leaf, query = torch.cat([x.leaf for x in pending]), torch.cat([x.query for x in pending])
        order = leaf.argsort()
        order = order[query[order].argsort(stable=True)]
        leaf, self.query = leaf[order], query[order].cpu()
        self.leaf, self.codes = leaf.cpu(), trie.generated_codes(leaf).cpu()
        self.score = torch.cat([x.score for x in pending])[order].cpu()
        slots = [torch.nn.functional.pad(x.slots, (0, trie.levels - x.slots.shape[1]), value=-1) for x in pending]
        self.slots = torch.cat(slots)[order].cpu()
        self.start = (self.slots >= 0).sum(1)
        self.done = self.start.clone()
        self.length = (self.codes >= 0).sum(1)
        self.scores = torch.full(self.codes.shape, -torch.inf)
        self.lost = torch.zeros(len(leaf), dtype=torch.bool)

    def find_open(self, threshold: Tensor) -> Tensor:
        """Find the docids that are incomplete but may still be among the k best: indices, by query, best first.

        threshold [B]: the log p below which a docid cannot be among the k best.
        """
        is_open = ((self.done < self.length) & (self.score >= threshold[self.query])).nonzero()[:, 0]
        is_open = is_open[self.score[is_open].argsort(descending=True, stable=True)]
        return is_open[self.query[is_open].argsort(stable=True)]

    def next_chunk(self, chosen: Tensor, most: int) -> Tensor:
        """How many codes of each chosen docid to score next [c]: at most `most`, in chunks of nearly equal length."""
        left = (self.length - self.done)[chosen]
        chunks = (left + most - 1) // most
        return (left + chunks - 1) // chunks

    def add_complete(self, top: TopK) -> TopK:
        """Return a copy of `top` to which the complete docids that are not lost have been added."""
        complete = ((self.done == self.length) & ~self.lost).nonzero()[:, 0]
        found = top.copy()
        if len(complete):
            lengths = self.query[complete].bincount(minlength=len(found.leaves)).tolist()
            layout = RaggedLayout.from_lengths(lengths, complete.device)
            leaves, scores = layout.pad(self.leaf[complete], -1), layout.pad(self.score[complete], -torch.inf)
            found.add(leaves.to(self.device), scores.to(self.device))
        return found

    def mark_lost(self, beams: int, threshold: Tensor) -> bool:
        """Mark the docids above the threshold that a search with `beams` beams would have pruned.

        threshold [B]. Returns whether any docid was newly marked.
        """
        if int(self.query.bincount().max()) <= beams:
            return False
        newly_lost = (self.done == self.length) & (self.score >= threshold[self.query]) & ~self.lost
        newly_lost &= ~simulate_beam(self.query, self.codes, self.start, self.scores, beams)
        self.lost |= newly_lost
        return bool(newly_lost.any())


def score_tails(
    model: DocidModel,
    cross_cache: CrossAttentionCache,
    kv_cache: KVCache,
    tails: ForcedTails,
    top: TopK,
    beams: int | None,
    deadline: Deadline,
) -> tuple[TopK, Tensor]:
    """Score the tails of all docids that may be among the k best.

    top: the best docids from before. beams: beam size of the search whose result is wanted; None means that no docid
    is pruned on the way.
    Returns the top k with these docids, and the best score [B] among the docids that a beam search would have pruned,
    -inf if there are none. Raises GenirError if the model returns NaN scores, and SearchTimeout at the deadline.
    """
    queries, tokens_per_pass = len(top.leaves), _TOKENS_PER_PASS[model.device.type]
    min_tails = max(_MIN_TAILS, _MIN_TAILS_OF_ALL[model.device.type] // queries)
    while True:
        deadline.check()
        found = tails.add_complete(top)
        threshold = found.threshold.cpu()
        is_open = tails.find_open(threshold)
        if len(is_open):
            counts = tails.query[is_open].bincount(minlength=queries)
            rank = torch.arange(len(is_open)) - (counts.cumsum(0) - counts)[tails.query[is_open]]
            all_needed = bool((counts <= found.remaining.cpu()).all())
            chosen = is_open if all_needed else is_open[rank < min_tails]
            most = max(1, 8 * tokens_per_pass // len(chosen))
            if not all_needed:
                most = max(_MIN_CODES, tokens_per_pass // len(chosen))
            _score_chunk(model, cross_cache, kv_cache, tails, chosen, tails.next_chunk(chosen, most), queries)
        elif beams is None or not tails.mark_lost(beams, threshold):
            lost = torch.full((queries,), -torch.inf).scatter_reduce(
                0, tails.query, tails.score.masked_fill(~tails.lost, -torch.inf), "amax"
            )
            return found, lost.to(model.device)


def _score_chunk(
    model: DocidModel,
    cross_cache: CrossAttentionCache,
    kv_cache: KVCache,
    tails: ForcedTails,
    chosen: Tensor,
    chunk: Tensor,
    queries: int,
) -> None:
    """Score the next codes of the chosen docids, chunk [c] codes of each, and store the results in `tails`."""
    device = model.device
    done = tails.done[chosen]
    step = torch.arange(int(chunk.max()))
    levels = done.unsqueeze(1) + step
    is_real = step < chunk.unsqueeze(1)
    levels = levels.clamp(max=tails.codes.shape[1] - 1)
    codes = tails.codes[chosen]
    inputs = model.decoder_inputs(codes.to(device)).gather(1, levels.to(device))
    layout = RaggedLayout.from_lengths(tails.query[chosen].bincount(minlength=queries).tolist(), device)
    past_slots = tails.slots[chosen, : int(done.max())].to(device)
    states, slots = model.extend(cross_cache, layout, kv_cache, inputs, past_slots)
    wanted = codes.gather(1, levels).clamp(min=0)
    logps = torch.zeros(is_real.shape)
    real = is_real.flatten().nonzero()[:, 0]
    logps.view(-1)[real] = model.chosen_code_logps(
        states.flatten(0, 1)[real.to(device)], levels.flatten()[real], wanted.flatten()[real].to(device)
    ).cpu()
    if bool(logps.isnan().any()):
        raise nan_scores_error()
    scores = running_sums(tails.score[chosen], logps)
    which = chosen.unsqueeze(1).expand_as(levels)[is_real]
    tails.scores[which, levels[is_real]] = scores[is_real]
    tails.score[chosen] = scores[:, -1]
    tails.slots[which, levels[is_real]] = slots.cpu()[is_real]
    tails.done[chosen] += chunk


def running_sums(score: Tensor, logps: Tensor) -> Tensor:
    """Compute score [n] plus the running sums of logps [n, T], in the order in which a search adds them: [n, T]."""
    sums = []
    for column in logps.unbind(1):
        score = score + column
        sums.append(score)
    return torch.stack(sums, 1)


def simulate_beam(query: Tensor, codes: Tensor, start: Tensor, scores: Tensor, beams: int) -> Tensor:
    """Replay a beam search among some docids: which of them it would not have pruned on the way, as a mask [n].

    The search has `beams` beams per query. The first `start` [n] codes of each docid are known not to have been pruned,
    and there are no other docids.
    query [n]: ascending. codes [n, L]: in docid order within a query. scores [n, L]: log p of each docid up to each
    code; it is -inf if it is too low to matter, or if it is given for another docid with the same prefix.
    """
    length = (codes >= 0).sum(1)
    differs = (codes[1:] != codes[:-1]).cumsum(1) + (query[1:] != query[:-1]).unsqueeze(1) > 0
    node = torch.cat([torch.zeros_like(codes[:1]), differs.long()]).cumsum(0)  # one number per distinct prefix
    kept = torch.ones(len(query), dtype=torch.bool)
    for level in range(codes.shape[1]):
        live = (kept & (start <= level) & (level < length)).nonzero()[:, 0]
        if not len(live) or int(query[live].bincount().max()) <= beams:
            continue
        first = torch.cat([live[:1], live[1:][node[live[1:], level] != node[live[:-1], level]]])
        layout = RaggedLayout.from_lengths(query[first].bincount().tolist(), first.device)
        known = torch.full((len(query),), -torch.inf)
        known = known.scatter_reduce(0, node[live, level], scores[live, level], "amax")
        candidates = layout.pad(known[node[first, level]], -torch.inf)
        is_complete = layout.pad(length[first] == level + 1)
        finished, continued = select(candidates, is_complete, beams)
        assert finished is not None
        alive = torch.zeros(len(query), dtype=torch.bool)
        alive[node[first, level]] = layout.unpad(finished | continued)
        kept[live] = alive[node[live, level]]
    return kept

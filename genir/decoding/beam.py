"""Trie-constrained beam search: only existing docids are generated, each at most once, with a certificate of exactness.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query,
k documents asked for.
"""

from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.deadline import Deadline
from genir.decoding.forced import Completions, ForcedTails, nan_scores_error, score_tails
from genir.decoding.step import (
    Beams,
    DescendantCounts,
    count_descendants,
    expand_beams,
    select_beams,
    step_by_graph,
)
from genir.decoding.topk import TopK, select, topk_mask
from genir.decoding.trie import AllowedDocids, Trie
from genir.model import DocidModel, Encoded
from genir.t5.cross_attention import CrossAttentionCache
from genir.t5.cuda_graphs import MAX_GRAPH_TOKENS
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout

_MIN_EXACT_BEAMS = 64
"""Smallest beam size with which an exact search continues pruned candidates: matrix products of fewer rows are slow."""
_DIRECT_PER_BEAM = 1.25
"""Once the number of docids below a query's beams is at most this multiple of the beam size, each of them is scored
directly, without a search.
"""


class BeamResult(NamedTuple):
    """The best docids of each query.

    leaves [B, k]: docid numbers in the trie, best first, followed by -1 if there are fewer. scores [B, k]: their log p,
    followed by -inf if there are fewer. exact [B]: whether it is proven that no other docid belongs among them.
    bound [B]: the best score of a pruned candidate that might have led to one of the k best docids, -inf if there is
    none; results above it are proven to have the right rank.
    """

    leaves: Tensor
    scores: Tensor
    exact: Tensor
    bound: Tensor


@torch.inference_mode()
def beam_search(
    model: DocidModel,
    trie: Trie,
    encoded: Encoded,
    beams: int,
    k: int,
    allowed: AllowedDocids | None = None,
    exact: bool = False,
    count_documents: bool = False,
    deadline: Deadline | None = None,
) -> BeamResult:
    """Find the k best docids of each query among those that `beams` beams reach.

    At each level the `beams` best candidates of a query are considered: complete docids among them are finished, and
    the `beams` best of the others are continued (as in Hugging Face's beam search). A score is the sum of the codes'
    log-probabilities, without a length penalty; ties go to the smaller docid.

    The certificate: the score of a docid never rises as codes are added, so no pruned candidate can lead to a docid
    above the best pruned score. If the k-th docid is above it, the result is the model's true top k (up to rounding).

    allowed: docids to search among; None means all. exact: continue with pruned candidates that might still lead to one
    of the best docids, until there are none. count_documents: stop once the docids cover k documents; docids after
    those are left out. deadline: when to give up; it is checked before each decoder pass.
    Raises GenirError if the model returns NaN scores, and SearchTimeout at the deadline.
    """
    top = TopK(len(encoded.states), k, trie.size, model.device, count_documents)
    with model.borrow_kv_cache() as kv_cache:
        kv_cache.bind_trie(trie)
        cross_cache = model.precompute_cross_attention(encoded, kv_cache)
        search = _Search(model, trie, beams, top, allowed, exact, kv_cache, cross_cache, deadline or Deadline())
        search.run()
    top, pruned = search.top, search.pruned
    return BeamResult(top.leaves, top.scores, (pruned == -torch.inf) | (pruned < top.threshold), pruned)


@dataclass
class _Search:
    """The state of one search.

    top: the best complete docids so far. allowed, exact: see `beam_search`. deferred: in an exact search, the pruned
    candidates of each level that have not been continued yet. pruned [B]: the best score among the pruned candidates,
    not counting those below the threshold.
    """

    model: DocidModel
    trie: Trie
    beams: int
    top: TopK
    allowed: AllowedDocids | None
    exact: bool
    kv_cache: KVCache
    cross_cache: CrossAttentionCache
    deadline: Deadline
    deferred: dict[int, list[Beams]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.queries = len(self.top.leaves)
        self.pruned = self.top.threshold

    def run(self) -> None:
        """Search from the empty docid; an exact search then continues with the pruned candidates."""
        if self.allowed is not None and not len(self.allowed.leaves):
            return
        device = self.model.device
        zeros = torch.zeros(self.queries, dtype=torch.long, device=device)
        score = torch.zeros(self.queries, device=device)
        self._descend(0, Beams(torch.arange(self.queries, device=device), zeros, zeros + self.trie.size, score))
        self.beams = max(self.beams, _MIN_EXACT_BEAMS)
        while (following := self._next_deferred()) is not None:
            self.kv_cache.size = 0
            self._descend(*following)
        if self.exact:
            self.pruned = torch.full_like(self.pruned, -torch.inf)

    def _next_deferred(self) -> tuple[int, Beams] | None:
        """Take the best of the deepest pruned candidates that may still lead to one of the k best docids.

        The deepest come first, because their docids are complete soonest and then raise the threshold for the others.
        Returns their level and the candidates, or None if there are none.
        """
        while self.deferred:
            level = max(self.deferred)
            pruned = Beams(*(torch.cat(x) for x in zip(*self.deferred.pop(level), strict=True)))
            pruned = pruned.take(pruned.score >= self.top.threshold[pruned.query])
            if len(pruned.query):
                pruned = pruned.take(pruned.first.argsort())
                pruned = pruned.take(pruned.query.argsort(stable=True))
                lengths = pruned.query.bincount(minlength=self.queries).tolist()
                layout = RaggedLayout.from_lengths(lengths, self.model.device)
                chosen = layout.unpad(topk_mask(layout.pad(pruned.score, -torch.inf), self.beams))
                self.deferred[level] = [pruned.take(~chosen)]
                return level, pruned.take(chosen)
        return None

    def _descend(self, level: int, live: Beams) -> None:
        """Search below partial docids of `level` codes, none of whose tokens are in the KV cache yet."""
        tokens = self.model.decoder_inputs(self.trie.codes[live.first, :level].long())
        slots = live.query.new_empty((len(live.query), 0))
        pending: list[Completions] = []
        counts = DescendantCounts.from_tensor(self._count_descendants(level, live))
        while sum(counts.beams):
            self.deadline.check()
            layout = RaggedLayout.from_lengths(counts.beams, counts.beams_on_device)
            states, new_slots = self.model.extend(self.cross_cache, layout, self.kv_cache, tokens, slots)
            logps = self.model.level_logps(states[:, -1], level)
            parent, live, below = self._step(level, live, logps, counts)
            slots = torch.cat([slots, new_slots], 1)[parent]
            level += 1
            counts = DescendantCounts.from_tensor(below)
            live, slots = live.take(slice(sum(counts.beams))), slots[: sum(counts.beams)]
            if any(counts.direct):
                is_direct = counts.direct_on_device[live.query] > 0
                pending.append(self._list_completions(live.take(is_direct), slots[is_direct]))
                live, slots, counts = live.take(~is_direct), slots[~is_direct], counts.without_direct()
            tokens = self.model.level_tokens(self.trie.codes[live.first, level - 1].long(), level - 1)
        if pending:
            tails = ForcedTails(self.trie, self.allowed, pending)
            beams = None if self.exact else self.beams
            self.top, lost = score_tails(
                self.model, self.cross_cache, self.kv_cache, tails, self.top, beams, self.deadline
            )
            self.pruned = torch.maximum(self.pruned, lost)
        if bool(self.pruned.isnan().any()):  # a candidate with a NaN score is never kept
            raise nan_scores_error()

    def _step(self, level: int, live: Beams, logps: Tensor, counts: DescendantCounts) -> tuple[Tensor, Beams, Tensor]:
        """Extend all beams by one code, whose log-probs are [n, codes of the level], and prune.

        Returns the parent of each new beam, the new beams followed by padding, and the tensor of `DescendantCounts`.
        """
        trie, threshold, graphs = self.trie, self.top.threshold, self.kv_cache.graphs
        no_complete = trie.has_fixed_length and level + 1 < trie.depth
        has_graph = no_complete and not self.exact and self.allowed is None
        if has_graph and graphs is not None and self.queries * self.beams < MAX_GRAPH_TOKENS:
            parent, live, self.pruned, below = step_by_graph(
                graphs, trie, level, self.beams, self._max_direct, live, logps, counts, threshold, self.pruned
            )
            return parent, live, below
        layout = RaggedLayout.from_lengths(counts.children, counts.children_on_device)
        parent, candidates = expand_beams(trie, level, live, logps, threshold, len(layout.query), self.allowed)
        scores = layout.pad(candidates.score, -torch.inf)
        is_complete = None if no_complete else layout.pad(trie.is_complete(level + 1, candidates.first))
        finished, continued = select(scores, is_complete, self.beams, self.exact)
        kept = continued
        if finished is not None:
            self._finish(scores.masked_fill(~finished, -torch.inf), layout.pad(candidates.first))
            kept = finished | continued
        pruned = scores.masked_fill(kept, -torch.inf)
        self.pruned = torch.maximum(self.pruned, pruned.amax(1))
        if self.exact:
            self.deferred.setdefault(level + 1, []).append(candidates.take(layout.unpad(pruned) > -torch.inf))
        mask = layout.unpad(continued)
        parent, live = select_beams(parent, candidates, mask, min(len(mask), self.queries * self.beams))
        return parent, live, self._count_descendants(level + 1, live)

    def _finish(self, scores: Tensor, leaves: Tensor) -> None:
        """Add complete docids [B, w] to the top k; a score of -inf marks padding."""
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.top.leaves.shape[1]]
        leaves = leaves.gather(1, order)
        self.top.add(leaves, scores[:, : order.shape[1]], self.trie.count_documents(leaves, self.allowed))

    def _count_descendants(self, level: int, live: Beams) -> Tensor:
        return count_descendants(self.trie, level, live, self.queries, self._max_direct)

    @property
    def _max_direct(self) -> int:
        return int(_DIRECT_PER_BEAM * self.beams)

    def _list_completions(self, nodes: Beams, slots: Tensor) -> Completions:
        """List every docid below some beams as a separate completion, whose remaining codes need no search."""
        sizes = nodes.last - nodes.first
        parent = torch.repeat_interleave(sizes)
        number = torch.arange(len(parent), device=slots.device) - (sizes.cumsum(0) - sizes)[parent]
        leaf = nodes.first[parent] + number
        if self.allowed is not None:
            is_allowed = self.allowed.contains(leaf)
            parent, leaf = parent[is_allowed], leaf[is_allowed]
        return Completions(nodes.query[parent], leaf, nodes.score[parent], slots[parent])

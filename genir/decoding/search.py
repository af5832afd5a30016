"""What all beam searches share: pruning, the candidates that an exact search continues later, and the results.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.deadline import Deadline
from genir.decoding.step import Beams
from genir.decoding.topk import TopK, select, topk_mask
from genir.docids.trie import AllowedLeaves, Children, Trie
from genir.errors import GenirError
from genir.model import DocidModel
from genir.t5.cross_attention import CrossAttentionCache
from genir.t5.kv_cache import KVCache
from genir.t5.ragged import RaggedLayout

_MIN_EXACT_BEAMS = 64
"""Smallest beam size with which an exact search continues pruned candidates: matrix products of fewer rows are slow."""


class TracedLevel(NamedTuple):
    """What a search with a softmax over the trie did at one level, for explanations.

    level: number of codes of the beams. live: the beams. children: their children. logps [c]: log p of the children's
    codes. continued [c]: which children are beams of the next level.
    """

    level: int
    live: Beams
    children: Children
    logps: Tensor
    continued: Tensor


class SearchInput(NamedTuple):
    """What a search reads; see `genir.decoding.beam.beam_search`."""

    model: DocidModel
    trie: Trie
    allowed: AllowedLeaves | None
    exact: bool
    kv_cache: KVCache
    cross_cache: CrossAttentionCache
    deadline: Deadline
    trace: list[TracedLevel] | None = None


class Search(ABC):
    """One search of B queries.

    beams: beam size. top: the best documents so far. deferred: in an exact search, the pruned candidates of each level
    that have not been continued yet. pruned [B]: the best score among the pruned candidates, not counting those below
    the threshold.
    """

    def __init__(self, inputs: SearchInput, beams: int, top: TopK) -> None:
        self.inputs, self.beams, self.top = inputs, beams, top
        self.queries = len(top.leaves)
        self.pruned = top.threshold
        self.deferred: dict[int, list[Beams]] = {}

    @abstractmethod
    def descend(self, level: int, live: Beams) -> None:
        """Search below partial docids of `level` codes, none of whose tokens are in the KV cache yet."""

    def run(self) -> None:
        """Search from the empty docid; an exact search then continues with the pruned candidates."""
        inputs, device = self.inputs, self.inputs.model.device
        first, last = (torch.full((self.queries,), x, device=device) for x in (0, inputs.trie.size))
        if inputs.allowed is not None:
            if not len(inputs.allowed.leaves):
                return
            first, last = inputs.allowed.narrow(first, last)
        score = torch.zeros(self.queries, device=device)
        self.descend(0, Beams(torch.arange(self.queries, device=device), first, last, score))
        self.beams = max(self.beams, _MIN_EXACT_BEAMS)
        while (following := self._next_deferred()) is not None:
            inputs.kv_cache.size = 0
            self.descend(*following)
        if inputs.exact:
            self.pruned = torch.full_like(self.pruned, -torch.inf)

    def _next_deferred(self) -> tuple[int, Beams] | None:
        """Take the best of the deepest pruned candidates that may still lead to one of the k best documents.

        The deepest come first, because they lead to documents soonest, which then raise the threshold for the others.
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
                layout = RaggedLayout.from_lengths(lengths, self.inputs.model.device)
                chosen = layout.unpad(topk_mask(layout.pad(pruned.score, -torch.inf), self.beams))
                self.deferred[level] = [pruned.take(~chosen)]
                return level, pruned.take(chosen)
        return None

    def prune(self, level: int, layout: RaggedLayout, candidates: Beams, is_document: Tensor | None) -> Tensor:
        """Finish the documents among the best candidates [c], and return a mask [c] of those that are continued.

        level: number of codes of the candidates. layout: which of them belong to which query. is_document [c]: whether
        a candidate is a single document; None means that none is.
        """
        exact = self.inputs.exact
        scores = layout.pad(candidates.score, -torch.inf)
        complete = None if is_document is None else layout.pad(is_document)
        finished, continued = select(scores, complete, self.beams, exact)
        kept = continued
        if finished is not None:
            self._finish(scores.masked_fill(~finished, -torch.inf), layout.pad(candidates.first))
            kept = finished | continued
        pruned = scores.masked_fill(kept, -torch.inf)
        self.pruned = torch.maximum(self.pruned, pruned.amax(1))
        if exact:
            self.deferred.setdefault(level, []).append(candidates.take(layout.unpad(pruned) > -torch.inf))
        return layout.unpad(continued)

    def _finish(self, scores: Tensor, leaves: Tensor) -> None:
        """Add documents [B, w] to the top k; a score of -inf marks padding."""
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.top.k]
        self.top.add(leaves.gather(1, order), scores[:, : order.shape[1]])

    def require_no_nan(self) -> None:
        """Raise GenirError if a candidate had a NaN score; such a candidate is never kept."""
        if bool(self.pruned.isnan().any()):
            raise nan_scores_error()


def nan_scores_error() -> GenirError:
    """Create the error for a model that returned NaN scores; the caller raises it."""
    return GenirError(
        "the model returned NaN scores: its training diverged (try a lower learning_rate first), or its weights are "
        "damaged"
    )

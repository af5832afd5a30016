"""Beam search with a softmax over the whole vocabulary, whose scores are those of Hugging Face's `generate`.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children).
"""

import torch
from torch import Tensor

from genir.decoding.forced import Completions, ForcedTails, score_tails
from genir.decoding.search import Search
from genir.decoding.step import (
    Beams,
    DescendantCounts,
    count_descendants,
    expand_beams,
    select_beams,
    step_by_graph,
)
from genir.t5.cuda_graphs import MAX_GRAPH_TOKENS
from genir.t5.ragged import RaggedLayout

_DIRECT_PER_BEAM = 1.25
"""Once the number of documents below a query's beams is at most this multiple of the beam size, each of them is scored
directly, without a search.
"""


class FullSoftmaxSearch(Search):
    """A search whose candidates are documents only at the end of their docids."""

    def descend(self, level: int, live: Beams) -> None:
        """Search below partial docids of `level` codes, none of whose tokens are in the KV cache yet."""
        inputs, trie, model = self.inputs, self.inputs.trie, self.inputs.model
        tokens = model.decoder_inputs(trie.codes[live.first, :level].long()) if level < trie.levels else None
        slots = live.query.new_empty((len(live.query), 0))
        pending: list[Completions] = []
        counts = DescendantCounts.from_tensor(self._count_descendants(level, live))
        while sum(counts.beams):
            inputs.deadline.check()
            if tokens is None:  # all that is left are documents that share a docid, which have its score
                logps = live.score.new_zeros((len(live.query), 1))
                new_slots = live.query.new_empty((len(live.query), 0))
            else:
                layout = RaggedLayout.from_lengths(counts.beams, counts.beams_on_device)
                states, new_slots = model.extend(inputs.cross_cache, layout, inputs.kv_cache, tokens, slots)
                logps = model.level_logps(states[:, -1], level)
            parent, live, below = self._step(level, live, logps, counts)
            slots = torch.cat([slots, new_slots], 1)[parent]
            level += 1
            counts = DescendantCounts.from_tensor(below)
            live, slots = live.take(slice(sum(counts.beams))), slots[: sum(counts.beams)]
            if any(counts.direct):
                is_direct = counts.direct_on_device[live.query] > 0
                pending.append(self._list_completions(live.take(is_direct), slots[is_direct]))
                live, slots, counts = live.take(~is_direct), slots[~is_direct], counts.without_direct()
            last = trie.codes[live.first, level - 1].long()
            tokens = model.level_tokens(last, level - 1) if level < trie.levels else None
        if pending:
            beams = None if inputs.exact else self.beams
            tails = ForcedTails(trie, pending)
            self.top, lost = score_tails(
                model, inputs.cross_cache, inputs.kv_cache, tails, self.top, beams, inputs.deadline
            )
            self.pruned = torch.maximum(self.pruned, lost)
        self.require_no_nan()

    def _step(self, level: int, live: Beams, logps: Tensor, counts: DescendantCounts) -> tuple[Tensor, Beams, Tensor]:
        """Extend all beams by one code, whose log-probs are [n, codes of the level], and prune.

        Returns the parent of each new beam, the new beams followed by padding, and the tensor of `DescendantCounts`.
        """
        trie, threshold, graphs = self.inputs.trie, self.top.threshold, self.inputs.kv_cache.graphs
        no_document = trie.lengths is None and level + 1 < trie.levels
        has_graph = no_document and not self.inputs.exact and self.inputs.allowed is None
        if has_graph and graphs is not None and self.queries * self.beams < MAX_GRAPH_TOKENS:
            parent, live, self.pruned, below = step_by_graph(
                graphs, trie, level, self.beams, self._max_direct, live, logps, counts, threshold, self.pruned
            )
            return parent, live, below
        layout = RaggedLayout.from_lengths(counts.children, counts.children_on_device)
        parent, candidates = expand_beams(trie, level, live, logps, threshold, len(layout.query), self.inputs.allowed)
        is_document = None
        if not no_document:
            is_document = (candidates.last - candidates.first == 1) & ~trie.is_generated(level + 1, candidates.first)
        mask = self.prune(level + 1, layout, candidates, is_document)
        parent, live = select_beams(parent, candidates, mask, min(len(mask), self.queries * self.beams))
        return parent, live, self._count_descendants(level + 1, live)

    def _count_descendants(self, level: int, live: Beams) -> Tensor:
        return count_descendants(self.inputs.trie, level, live, self.queries, self._max_direct)

    @property
    def _max_direct(self) -> int:
        return int(_DIRECT_PER_BEAM * self.beams)

    def _list_completions(self, nodes: Beams, slots: Tensor) -> Completions:
        """List every document below some beams as a separate completion, whose remaining codes need no search."""
        sizes = nodes.last - nodes.first
        parent = torch.repeat_interleave(sizes)
        number = torch.arange(len(parent), device=slots.device) - (sizes.cumsum(0) - sizes)[parent]
        leaf = nodes.first[parent] + number
        if self.inputs.allowed is not None:
            is_allowed = self.inputs.allowed.contains(leaf)
            parent, leaf = parent[is_allowed], leaf[is_allowed]
        return Completions(nodes.query[parent], leaf, nodes.score[parent], slots[parent])

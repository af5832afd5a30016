"""Beam search with the softmax over the children of trie nodes and their prior masses (`genir.scoring`).

A code without alternatives has the probability 1, so that the decoder runs only for beams that branch; the tokens of a
beam that have not been run until then are run together.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), T tokens run at once, P
tokens run before, D model width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from genir.decoding.search import Search, SearchInput, TracedLevel
from genir.decoding.step import Beams, make_candidates
from genir.decoding.topk import TopK
from genir.docids.trie import Children
from genir.scoring.masses import Masses
from genir.scoring.softmax import child_logps
from genir.t5.ragged import RaggedLayout


class TrieSoftmaxSearch(Search):
    """A search whose candidates are documents as soon as their codes belong to no other document."""

    def __init__(self, inputs: SearchInput, beams: int, top: TopK, masses: Masses) -> None:
        super().__init__(inputs, beams, top)
        self.masses = masses

    def descend(self, level: int, live: Beams) -> None:
        """Search below partial docids of `level` codes, none of whose tokens are in the KV cache yet."""
        trie, allowed = self.inputs.trie, self.inputs.allowed
        # A query whose root is a single document needs no search.
        is_document = live.last - live.first == 1
        prefixes = DecodedPrefixes(live.query.new_empty((len(live.query), 0)), torch.zeros_like(live.query))
        if bool(is_document.any()):
            layout = RaggedLayout.from_lengths(live.query.bincount(minlength=self.queries).tolist(), live.query.device)
            kept = self.prune(level, layout, live, is_document)
            live, prefixes = live.take(kept), prefixes.take(kept.nonzero()[:, 0])
        while len(live.query):
            self.inputs.deadline.check()
            children = trie.expand(level, live.first, live.last)
            logps = self._score(level, live, children, prefixes)
            candidates = make_candidates(live, children, logps, self.top.threshold, allowed)
            counts = candidates.query.bincount(minlength=self.queries)
            layout = RaggedLayout.from_lengths(counts.tolist(), counts)
            level += 1
            continued = self.prune(level, layout, candidates, candidates.last - candidates.first == 1)
            if self.inputs.trace is not None:
                self.inputs.trace.append(TracedLevel(level - 1, live, children, logps, continued))
            live, prefixes = candidates.take(continued), prefixes.take(children.parent[continued])
        self.require_no_nan()

    def _score(self, level: int, live: Beams, children: Children, prefixes: "DecodedPrefixes") -> Tensor:
        """Compute the log-probabilities [c] of the children, 0 for those that have no siblings."""
        branches = torch.bincount(children.parent, minlength=len(live.query)) > 1
        if bool(branches.all()):
            return self._score_branching(level, live, children, prefixes, branches.nonzero()[:, 0])
        logps = live.score.new_zeros(len(children.parent))
        which = branches[children.parent].nonzero()[:, 0]
        if len(which):
            number = branches.cumsum(0) - 1
            some = Children(number[children.parent[which]], *(x[which] for x in children[1:]))
            rows = branches.nonzero()[:, 0]
            logps[which] = self._score_branching(level, live.take(rows), some, prefixes, rows)
        return logps

    def _score_branching(
        self, level: int, live: Beams, children: Children, prefixes: "DecodedPrefixes", rows: Tensor
    ) -> Tensor:
        """Compute the log-probabilities [c] of the children of beams that have several; rows: indices of the beams."""
        model = self.inputs.model

        def score(parent: Tensor, code: Tensor) -> Tensor:
            needed, index = torch.unique_consecutive(parent, return_inverse=True)
            states = prefixes.run_decoder(self.inputs, self.queries, level, live.take(needed), rows[needed])
            return model.child_logits(states, level, index, code)

        return child_logps(self.masses, level, live.query, live.first, live.last, children, score)


@dataclass
class DecodedPrefixes:
    """Which decoder tokens of each beam are in the KV cache.

    slots [n, P]: slots of the tokens, the start token first, followed by -1 if there are fewer than P. done [n]: how
    many there are.
    """

    slots: Tensor
    done: Tensor

    def take(self, indices: Tensor) -> "DecodedPrefixes":
        """The tokens of the beams with these indices, in this order."""
        return DecodedPrefixes(self.slots[indices], self.done[indices])

    def run_decoder(self, inputs: SearchInput, queries: int, level: int, live: Beams, rows: Tensor) -> Tensor:
        """Run the tokens of some beams that have not been run, and return the states [n, D] after their codes.

        live: the beams, which have `level` codes. rows [n]: their indices. queries: number of queries of the search.
        """
        model = inputs.model
        rows = rows.to(self.done.device)
        done, slots = self.done[rows], self.slots[rows]
        missing = level + 1 - done
        step = torch.arange(int(missing.max()), device=rows.device)
        is_real = step < missing.unsqueeze(1)
        index = (done.unsqueeze(1) + step).clamp(max=level)  # superfluous tokens come last and change no other
        tokens = model.decoder_inputs(inputs.trie.codes[live.first, :level].long()).gather(1, index)
        layout = RaggedLayout.from_lengths(live.query.bincount(minlength=queries).tolist(), rows.device)
        past = slots[:, : int(done.max())]
        states, new_slots = model.extend(inputs.cross_cache, layout, inputs.kv_cache, tokens, past)
        grown = self.slots.new_full((len(self.slots), level + 1), -1)
        grown[:, : self.slots.shape[1]] = self.slots
        grown[rows.unsqueeze(1).expand_as(index)[is_real], index[is_real]] = new_slots[is_real]
        self.slots = grown
        self.done = self.done.index_fill(0, rows, level + 1)
        return states[torch.arange(len(rows), device=rows.device), missing - 1]

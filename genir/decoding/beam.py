"""Trie-constrained beam search: only docids that exist are ever written, each at most once; and a certificate.

Shapes: B queries, n partial docids (beams) of all queries, c candidates (their children), w most candidates of a query,
k documents asked for.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from genir.decoding.forced import Singles, Tails, no_number, score_tails
from genir.decoding.step import Beams, Below, grow, keep, outlook, step_by_graph
from genir.decoding.topk import Finished, best
from genir.decoding.trie import Allowed, Trie
from genir.model import DocidModel, Encoded
from genir.t5.cross_attention import Memory
from genir.t5.cuda_graphs import SMALL
from genir.t5.kv_cache import Past
from genir.t5.ragged import Shares

_WIDTH = 64
"""Least beams of an exact search, once it goes on: fewer make slow matrix products."""
_CROWD = 1.25
"""Docids below the beams of a query, as a multiple of the beams asked for, up to which each is scored for itself."""


class BeamResult(NamedTuple):
    """leaves [B, k]: docid numbers of the trie, best first, -1 where there are fewer; scores [B, k]: their log p, -inf
    there.

    exact [B]: whether it is proven that no other docid belongs there.
    """

    leaves: Tensor
    scores: Tensor
    exact: Tensor


@torch.inference_mode()
def beam_search(
    model: DocidModel,
    trie: Trie,
    encoded: Encoded,
    beams: int,
    k: int,
    allowed: Allowed | None = None,
    exact: bool = False,
    documents: bool = False,
) -> BeamResult:
    """The k best docids of each query among those that `beams` beams reach.

    At each level the `beams` best candidates of a query are looked at: those that end there are finished, and the
    `beams` best of the others go on (as Hugging Face's beam search does). A score is the sum of the codes'
    log-probabilities, without a length penalty; ties go to the smaller docid. allowed: docids to search among; None:
    all. documents: only as many docids are wanted as k documents hold; those after them are left out.

    The certificate: log-probs only fall, so nothing that was pruned can end above the best partial score among it.
    Where the k-th docid is above that, the result is the model's true top k (up to the rounding of scores). exact:
    where it is not, go on with what was pruned and might, until nothing is left that might.

    Raises GenirError where the model gives a score that is no number.
    """
    search = _Search(model, trie, encoded, beams, Finished(len(encoded.states), k, trie.size, model.device, documents))
    search.allowed, search.exact = allowed, exact
    with model.past() as search.past:
        search.past.use(trie)
        search.memory = model.remember(encoded, search.past)
        search.run()
    finished = search.finished
    proven = (search.pruned == -torch.inf) | (search.pruned < finished.floor)
    return BeamResult(finished.leaves, finished.scores, proven)


class _Search:
    """The state of one search: what is finished, and pruned [B]: the best score among what was pruned."""

    def __init__(self, model: DocidModel, trie: Trie, encoded: Encoded, beams: int, finished: Finished) -> None:
        self.model, self.trie, self.beams, self.finished = model, trie, beams, finished
        self.allowed: Allowed | None = None
        self.exact = False
        self.queries = len(encoded.states)
        self.past: Past
        self.memory: Memory
        self.pruned = finished.floor
        self.waiting: dict[int, list[Beams]] = {}

    def run(self) -> None:
        """From the empty docid down; then, where the search is to be exact, from what was pruned."""
        if self.allowed is not None and not len(self.allowed.leaves):
            return
        device = self.model.device
        zeros = torch.zeros(self.queries, dtype=torch.long, device=device)
        score = torch.zeros(self.queries, device=device)
        self.descend(0, Beams(torch.arange(self.queries, device=device), zeros, zeros + self.trie.size, score))
        self.beams = max(self.beams, _WIDTH)
        while (found := self._next_waiting()) is not None:
            self.past.size = 0
            self.descend(*found)
        if self.exact:
            self.pruned = torch.full_like(self.pruned, -torch.inf)

    def _next_waiting(self) -> tuple[int, Beams] | None:
        """The level and the best of the deepest of what was pruned and might still matter: its docids soon tell what
        does not any more.
        """
        while self.waiting:
            level = max(self.waiting)
            every = Beams(*(torch.cat(x) for x in zip(*self.waiting.pop(level), strict=True)))
            every = every.at(every.score >= self.finished.floor[every.query])
            if len(every.query):
                every = every.at(every.first.argsort())
                every = every.at(every.query.argsort(stable=True))
                shares = Shares.of(every.query.bincount(minlength=self.queries).tolist(), self.model.device)
                chosen = shares.flat(best(shares.matrix(every.score, -torch.inf), self.beams))
                self.waiting[level] = [every.at(~chosen)]
                return level, every.at(chosen)
        return None

    def descend(self, level: int, live: Beams) -> None:
        """Search below partial docids of `level` codes, which are run anew."""
        tokens = self.model.inputs(self.trie.codes[live.first, :level].long())
        path = live.query.new_empty((len(live.query), 0))
        parked: list[Singles] = []
        below = Below.of(self._outlook(level, live))
        while sum(below.beams):
            shares = Shares.of(below.beams, below.there[0])
            hidden, rows = self.model.extend(self.memory, shares, self.past, tokens, path)
            owner, live, there = self._step(level, live, self.model.level_logps(hidden[:, -1], level), below)
            path = torch.cat([path, rows], 1)[owner]
            level += 1
            below = Below.of(there)
            live, path = live.at(slice(sum(below.beams))), path[: sum(below.beams)]
            if any(below.aside):
                live, path, below = self._park(live, path, below, parked)
            tokens = self.model.tokens_of_level(self.trie.codes[live.first, level - 1].long(), level - 1)
        if parked:
            tails = Tails(self.trie, self.allowed, parked)
            beams = None if self.exact else self.beams
            self.finished, lost = score_tails(self.model, self.memory, self.past, tails, self.finished, beams)
            self.pruned = torch.maximum(self.pruned, lost)
        if bool(self.pruned.isnan().any()):  # a candidate without a score is never kept
            raise no_number()

    def _step(self, level: int, live: Beams, logps: Tensor, below: Below) -> tuple[Tensor, Beams, Tensor]:
        """All beams [n] grown by every code that the trie allows, and the best of them.

        logps [n, codes of the level]. Returns for each kept one the place of its parent among `live` and itself,
        followed by empty ones; and the outlook.
        """
        trie, floor, replays = self.trie, self.finished.floor, self.past.replays
        plain = trie.even and level + 1 < trie.depth and not self.exact and self.allowed is None
        if plain and replays is not None and self.queries * self.beams < SMALL:
            how = (replays, trie, level, self.beams, self._crowd)
            owner, live, self.pruned, there = step_by_graph(*how, live, logps, below, floor, self.pruned)
            return owner, live, there
        shares = Shares.of(below.children, below.there[1])
        owner, grown = grow(trie, level, live, logps, floor, len(shares.query), self.allowed)
        scores = shares.matrix(grown.score, -torch.inf)
        if trie.even and level + 1 < trie.depth:
            done = going = best(scores, self.beams)
        else:
            ended = shares.matrix(trie.ended(level + 1, grown.first))
            done = ended & best(scores, scores.shape[1] if self.exact else self.beams)
            self._finish(scores.masked_fill(~done, -torch.inf), shares.matrix(grown.first))
            going = best(scores.masked_fill(ended, -torch.inf), self.beams)
            done = done | going
        left = scores.masked_fill(done, -torch.inf)
        self.pruned = torch.maximum(self.pruned, left.amax(1))
        if self.exact:
            self.waiting.setdefault(level + 1, []).append(grown.at(shares.flat(left) > -torch.inf))
        kept = shares.flat(going)
        owner, live = keep(owner, grown, kept, min(len(kept), self.queries * self.beams))
        return owner, live, self._outlook(level + 1, live)

    def _finish(self, scores: Tensor, leaves: Tensor) -> None:
        """Take docids [B, w] among the finished; -inf: those that are not."""
        scores, order = scores.sort(dim=1, descending=True, stable=True)
        order = order[:, : self.finished.leaves.shape[1]]
        leaves = leaves.gather(1, order)
        self.finished.add(leaves, scores[:, : order.shape[1]], self.trie.documents_of(leaves, self.allowed))

    def _outlook(self, level: int, live: Beams) -> Tensor:
        return outlook(self.trie, level, live, self.queries, self._crowd)

    @property
    def _crowd(self) -> int:
        return int(_CROWD * self.beams)

    def _park(self, live: Beams, path: Tensor, below: Below, parked: list[Singles]) -> tuple[Beams, Tensor, Below]:
        """Set the beams of some queries aside: the docids below them are so few that each is scored for itself, with
        tails that need no search.
        """
        mask = below.there[3, live.query] > 0
        parked.append(self._singles(live.at(mask), path[mask]))
        return live.at(~mask), path[~mask], below.rest()

    def _singles(self, nodes: Beams, path: Tensor) -> Singles:
        """Every docid below some partial docids, as if it were alone."""
        sizes = nodes.last - nodes.first
        owner = torch.repeat_interleave(sizes)
        leaf = nodes.first[owner] + torch.arange(len(owner), device=path.device) - (sizes.cumsum(0) - sizes)[owner]
        if self.allowed is not None:
            there = self.allowed.has(leaf)
            owner, leaf = owner[there], leaf[there]
        return Singles(nodes.query[owner], leaf, nodes.score[owner], path[owner])

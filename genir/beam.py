"""Trie-constrained beam search: only docids that exist are ever written, each at most once.

Shapes: B queries, K beams, c candidates (children of all live beams of a query), k documents asked for.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor
from transformers import DynamicCache, EncoderDecoderCache

from genir.model import DocidModel, Encoded
from genir.trie import Trie


class BeamResult(NamedTuple):
    """leaves [B, k]: docid numbers of the trie, best first, -1 where there are fewer; scores [B, k]: their log p."""

    leaves: Tensor
    scores: Tensor


class Beams(NamedTuple):
    """Partial docids of all queries, sorted by query, then in docid order, [n] each; one stands for the docids
    first .. last - 1 of the trie, which begin with it.
    """

    query: Tensor
    first: Tensor
    last: Tensor
    score: Tensor

    def at(self, kept: Tensor) -> "Beams":
        """Those at some places, or where a mask is true."""
        return Beams(*(x[kept] for x in self))


@torch.inference_mode()
def beam_search(
    model: DocidModel, trie: Trie, encoded: Encoded, beams: int, k: int, allowed: Tensor | None = None
) -> BeamResult:
    """The k best docids of each query among those that `beams` beams reach; exact when beams >= number of docids.

    At each level the `beams` best candidates of a query are looked at: those that end there are finished, and the
    `beams` best of the others go on (as Hugging Face's beam search does). A score is the sum of the codes'
    log-probabilities, without a length penalty; ties go to the smaller docid. allowed: rising docid numbers to search
    among; None: all.
    """
    count = len(encoded.states)
    live = _all_docids(trie, count, model.device)
    finished: list[Beams] = []
    tokens = model.start_tokens(count)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for level in range(trie.depth):
        rows = Encoded(encoded.states[live.query], encoded.mask[live.query])
        logps = model.level_logps(model.step(rows, tokens, cache), level)
        owner, code, grown = _grow(trie, level, live, logps, allowed)
        ended = trie.ended(level + 1, grown.first)
        best = torch.zeros_like(ended)
        best[top_per_query(grown.query, grown.score, beams, count)] = True
        finished.append(grown.at(best & ended))
        going = (~ended).nonzero()[:, 0]
        kept = going[top_per_query(grown.query[going], grown.score[going], beams, count)]
        live = grown.at(kept)
        if not len(kept):
            break
        cache.reorder_cache(cast(torch.LongTensor, owner[kept]))
        tokens = model.tokens_of_level(code[kept], level)
    return _best(finished, count, k)


def _all_docids(trie: Trie, count: int, device: torch.device) -> Beams:
    """One empty docid for each query."""
    zeros = torch.zeros(count, dtype=torch.long, device=device)
    return Beams(torch.arange(count, device=device), zeros, zeros + trie.size, torch.zeros(count, device=device))


def _grow(trie: Trie, level: int, live: Beams, logps: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor, Beams]:
    """All beams extended by every code that the trie allows: owner [c], the beam each came from; code [c]; and the
    candidates. logps [n, codes of the level].
    """
    owner, first, last, code = trie.expand(level, live.first, live.last)
    grown = Beams(live.query[owner], first, last, live.score[owner] + logps[owner, code])
    if allowed is None:
        return owner, code, grown
    some = torch.searchsorted(allowed, first) < torch.searchsorted(allowed, last)
    return owner[some], code[some], grown.at(some)


def top_per_query(query: Tensor, score: Tensor, beams: int, count: int) -> Tensor:
    """Indices of the `beams` best candidates of each query, in their given order; of equal ones the first.

    query [c] rises, score [c].
    """
    if not len(query):
        return query
    dense, place = _by_query(query, score, count)
    if dense.shape[1] <= beams:
        return torch.arange(len(score), device=score.device)
    best = dense.sort(dim=1, descending=True, stable=True).indices[:, :beams]
    chosen = torch.zeros_like(dense, dtype=torch.bool).scatter_(1, best, True)
    return chosen[query, place].nonzero()[:, 0]


def _best(finished: list[Beams], count: int, k: int) -> BeamResult:
    """The k best finished docids of each query."""
    every = Beams(*(torch.cat(parts) for parts in zip(*finished, strict=True)))
    every = every.at(torch.argsort(every.first, stable=True))
    every = every.at(torch.argsort(every.query, stable=True))
    dense, place = _by_query(every.query, every.score, count)
    leaves = torch.full_like(dense, -1, dtype=torch.long)
    leaves[every.query, place] = every.first
    scores, order = dense.sort(dim=1, descending=True, stable=True)
    return BeamResult(leaves.gather(1, order)[:, :k], scores[:, :k])


def _by_query(query: Tensor, score: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The flat scores [c] as a matrix [B, most of a query] filled up with -inf, and each one's column [c]."""
    counts = torch.bincount(query, minlength=count)
    place = torch.arange(len(query), device=query.device) - (torch.cumsum(counts, 0) - counts)[query]
    dense = score.new_full((count, max(1, int(counts.max()))), -torch.inf)
    dense[query, place] = score
    return dense, place

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
    """The live beams of all queries, sorted by query, then by node, which is docid order: [n] each."""

    query: Tensor
    node: Tensor
    score: Tensor


@torch.inference_mode()
def beam_search(model: DocidModel, trie: Trie, encoded: Encoded, beams: int, k: int) -> BeamResult:
    """The k best docids of each query among those that `beams` beams reach; exact when beams >= number of docids.

    A beam's score is the sum of its codes' log-probabilities, without a length penalty. Ties go to the smaller docid.
    """
    count = len(encoded.states)
    live = Beams(
        torch.arange(count, device=model.device),
        torch.zeros(count, dtype=torch.long, device=model.device),
        torch.zeros(count, device=model.device),
    )
    tokens = model.start_tokens(count)
    cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
    for level in range(trie.depth):
        rows = Encoded(encoded.states[live.query], encoded.mask[live.query])
        hidden = model.decode(rows, tokens, cache)[:, -1]
        parent, live = _step(trie, level, live, model.level_logps(hidden, level), beams, count)
        cache.reorder_cache(cast(torch.LongTensor, parent))
        tokens = model.tokens_of_level(trie.levels[level + 1].code[live.node], level)
    return _best(live, count, k)


def _step(trie: Trie, level: int, live: Beams, logps: Tensor, beams: int, count: int) -> tuple[Tensor, Beams]:
    """Extend all beams by their allowed codes and keep the best of each query; parent [n]: the beam each came from.

    logps [n, codes of the level].
    """
    owner, child = trie.expand(level, live.node)
    score = live.score[owner] + logps[owner, trie.levels[level + 1].code[child]]
    kept = top_per_query(live.query[owner], score, beams, count)
    parent = owner[kept]
    return parent, Beams(live.query[parent], child[kept], score[kept])


def top_per_query(query: Tensor, score: Tensor, beams: int, count: int) -> Tensor:
    """Indices of the `beams` best candidates of each query, in their given order; of equal ones the first.

    query [c] rises, score [c].
    """
    dense, place = _by_query(query, score, count)
    if dense.shape[1] <= beams:
        return torch.arange(len(score), device=score.device)
    best = dense.sort(dim=1, descending=True, stable=True).indices[:, :beams]
    chosen = torch.zeros_like(dense, dtype=torch.bool).scatter_(1, best, True)
    return chosen[query, place].nonzero()[:, 0]


def _best(live: Beams, count: int, k: int) -> BeamResult:
    dense, place = _by_query(live.query, live.score, count)
    nodes = torch.full_like(dense, -1, dtype=torch.long)
    nodes[live.query, place] = live.node
    scores, order = dense.sort(dim=1, descending=True, stable=True)
    return BeamResult(nodes.gather(1, order)[:, :k], scores[:, :k])


def _by_query(query: Tensor, score: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The flat scores [c] as a matrix [B, most of a query] filled up with -inf, and each one's column [c]."""
    counts = torch.bincount(query, minlength=count)
    place = torch.arange(len(query), device=query.device) - (torch.cumsum(counts, 0) - counts)[query]
    dense = score.new_full((count, int(counts.max())), -torch.inf)
    dense[query, place] = score
    return dense, place

"""Negatives for a query: drawn from BM25's ranks and from docids next to a positive's; what is dropped is counted.

Shapes: N documents, L levels.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.config import Band
from genir.docids.order import Array, Ordered


class NegativeCandidate(NamedTuple):
    """A row of the docid table, where it came from, and its rank there from 1."""

    doc_index: int
    source: str
    rank: int


def draw_bands(ranking: Sequence[int], bands: Iterable[Band], rng: np.random.Generator) -> list[NegativeCandidate]:
    """From each band of a ranking of rows, `count` at random (all, where there are fewer), in the order of their ranks
    (DDRO, arXiv 2504.05181, appendix: 10 of ranks 1 to 100, 10 of 101 to 500, 12 of 501 to 1000).
    """
    drawn = []
    for band in bands:
        ranks = range(band.first, min(band.last, len(ranking)) + 1)
        chosen = rng.permutation(len(ranks))[: band.count]
        drawn += [NegativeCandidate(ranking[ranks[i] - 1], "bm25", ranks[i]) for i in np.sort(chosen).tolist()]
    return drawn


def siblings(ordered: Ordered, places: NDArray[np.int64], doc_index: int, count: int) -> list[NegativeCandidate]:
    """The `count` documents whose docids share the longest prefixes with that of `row`; of equal ones those nearer in
    docid order. places [N]: where each row stands in that order.
    """
    order, shared = ordered
    left = right = int(places[doc_index])
    length_left = length_right = int(shared.max(initial=0)) + 1
    found: list[NegativeCandidate] = []
    while len(found) < count and (left > 0 or right < len(order) - 1):
        down = min(length_left, int(shared[left])) if left > 0 else -1
        up = min(length_right, int(shared[right + 1])) if right < len(order) - 1 else -1
        if down >= up:
            left, length_left = left - 1, down
        else:
            right, length_right = right + 1, up
        found.append(NegativeCandidate(int(order[left if down >= up else right]), "siblings", len(found) + 1))
    return found


def keep_negatives(
    found: Iterable[NegativeCandidate], relevant: Collection[int], docid: Array, dropped: Counter[str]
) -> list[NegativeCandidate]:
    """Those that may serve as negatives: not relevant, not of a relevant document's docid, each docid once.

    relevant: rows; docid [N]: number of each row's docid. Counts what is left out in `dropped`, by reason.
    """
    taken = {int(docid[doc_index]) for doc_index in relevant}
    kept: dict[int, NegativeCandidate] = {}
    for candidate in found:
        number = int(docid[candidate.doc_index])
        if candidate.doc_index in relevant:
            dropped["relevant"] += 1
        elif number in taken:
            dropped["shares a docid with a relevant document"] += 1
        elif number in kept:
            dropped["is there already"] += 1
        else:
            kept[number] = candidate
    return list(kept.values())

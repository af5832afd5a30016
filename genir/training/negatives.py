"""Hard negatives: drawing them from rank bands, finding documents with similar docids, filtering, reading the file.

Shapes: N documents.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.config import Band
from genir.docids.order import Array, DocidOrder
from genir.docids.table import DocidTable
from genir.errors import error_at
from genir.files import numbered_lines, parse_json_line

MinedNegatives = Mapping[str, Sequence[int]]
"""Query id -> indices of the documents that were mined as its negatives."""


class NegativeCandidate(NamedTuple):
    """A document that may become a negative: its index, the source that proposed it, and its rank in it, from 1."""

    doc_index: int
    source: str
    rank: int


def draw_from_bands(ranking: Sequence[int], bands: Iterable[Band], rng: np.random.Generator) -> list[NegativeCandidate]:
    """Draw documents at random from bands of ranks in a BM25 ranking.

    ranking: document indices, best first. Each band gives `band.count` documents in the order of their ranks, or all
    that it has if they are fewer. DDRO (arXiv 2504.05181, appendix) draws 10 documents from ranks 1 to 100, 10 from 101
    to 500 and 12 from 501 to 1000.
    """
    drawn = []
    for band in bands:
        ranks = range(band.first, min(band.last, len(ranking)) + 1)
        chosen = rng.permutation(len(ranks))[: band.count]
        drawn += [NegativeCandidate(ranking[ranks[i] - 1], "bm25", ranks[i]) for i in np.sort(chosen).tolist()]
    return drawn


def find_siblings(
    ordered: DocidOrder, positions: NDArray[np.int64], doc_index: int, count: int
) -> list[NegativeCandidate]:
    """Find the `count` documents whose docids share the longest prefixes with the docid of `doc_index`.

    ordered: the documents in docid order. positions: [N], the position of each document in docid order. Documents with
    longer shared prefixes come first; among equal lengths, those before `doc_index` in docid order come before those
    after it, in each case the nearest first. Fewer than `count` documents are returned only if there are no more.
    """
    order, shared = ordered
    left = right = int(positions[doc_index])
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


def filter_negatives(
    found: Iterable[NegativeCandidate], relevant: Collection[int], docid_numbers: Array, dropped: Counter[str]
) -> list[NegativeCandidate]:
    """Return the candidates that can serve as negatives, at most one for each docid.

    relevant: indices of the relevant documents. These, and documents that share a docid with one of them, cannot serve
    as negatives. docid_numbers: [N], equal for documents with the same docid. dropped: counts the omitted candidates by
    reason; it is updated.
    """
    taken = {int(docid_numbers[doc_index]) for doc_index in relevant}
    kept: dict[int, NegativeCandidate] = {}
    for candidate in found:
        number = int(docid_numbers[candidate.doc_index])
        if candidate.doc_index in relevant:
            dropped["relevant"] += 1
        elif number in taken:
            dropped["shares a docid with a relevant document"] += 1
        elif number in kept:
            dropped["duplicate docid"] += 1
        else:
            kept[number] = candidate
    return list(kept.values())


def read_negatives(path: Path, table: DocidTable, query_ids: Collection[str]) -> MinedNegatives:
    """Read the negatives of each train query from the file that the negatives stage writes.

    query_ids: the ids of the train queries. A missing file gives an empty mapping. Raises GenirError for a malformed
    line, a document that is not in the table, a query that is not in `query_ids`, and a query with two lines.
    """
    mined: dict[str, list[int]] = {}
    if not path.exists():
        return mined
    for line, text in numbered_lines(path):
        entry = parse_json_line(text, path, line)
        try:
            query_id = entry["query_id"]
            negatives = [table.doc_indices[negative["doc_id"]] for negative in entry["negatives"]]
            if query_id not in query_ids:
                raise KeyError(f"{query_id!r} is not a train query")
            if query_id in mined:
                raise KeyError(f"a second line of query {query_id!r}")
        except (KeyError, TypeError) as error:
            raise error_at(
                path, line, f"this line was not written by the negatives stage ({error!r}); run that stage again"
            ) from None
        mined[query_id] = negatives
    return mined

"""Hard negatives: draws from bands of a ranking, documents with similar docids, filtering, and the negatives file.

Shapes: N documents.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from genir.config import Band
from genir.docids.order import Array, Ordered
from genir.docids.table import DocidTable
from genir.errors import error_at
from genir.files import numbered_lines, parse_json_line

MinedNegatives = Mapping[str, Sequence[int]]
"""query id -> indices of the documents that were mined as its negatives"""


class NegativeCandidate(NamedTuple):
    """A document that may become a negative: its index, the source that proposed it, and its rank there, from 1."""

    doc_index: int
    source: str
    rank: int


def draw_from_bands(ranking: Sequence[int], bands: Iterable[Band], rng: np.random.Generator) -> list[NegativeCandidate]:
    """Draw `count` documents at random from each band of a BM25 ranking, or all of a band that has fewer.

    ranking: document indices, best first. The drawn documents keep the order of their ranks. DDRO (arXiv 2504.05181,
    appendix) draws 10 from ranks 1 to 100, 10 from 101 to 500 and 12 from 501 to 1000.
    """
    drawn = []
    for band in bands:
        ranks = range(band.first, min(band.last, len(ranking)) + 1)
        chosen = rng.permutation(len(ranks))[: band.count]
        drawn += [NegativeCandidate(ranking[ranks[i] - 1], "bm25", ranks[i]) for i in np.sort(chosen).tolist()]
    return drawn


def find_siblings(
    ordered: Ordered, positions: NDArray[np.int64], doc_index: int, count: int
) -> list[NegativeCandidate]:
    """Find the `count` documents whose docids share the longest prefixes with the docid of `doc_index`.

    Among equal prefix lengths, documents that are closer in docid order come first. positions [N]: the position of
    each document in docid order.
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

    A document that is relevant, or shares its docid with a relevant document, cannot. relevant: document indices.
    docid_numbers [N]: equal for documents with the same docid. `dropped` counts the omitted candidates by reason.
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


def read_negatives(path: Path, table: DocidTable) -> MinedNegatives:
    """Read the negatives of each train query from the file that the negatives stage writes; no file means none.

    Raises GenirError for a malformed line and for a document that is not in the table.
    """
    mined: dict[str, list[int]] = {}
    if not path.exists():
        return mined
    for line, text in numbered_lines(path):
        entry = parse_json_line(text, path, line)
        try:
            mined[entry["query_id"]] = [table.doc_indices[negative["doc_id"]] for negative in entry["negatives"]]
        except (KeyError, TypeError) as error:
            raise error_at(
                path, line, f"not a line that the negatives stage wrote ({error!r}); run that stage again"
            ) from None
    return mined

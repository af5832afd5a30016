"""Postings: which documents contain each term, and how often, as sorted arrays that can be mapped into memory.

Shapes: N documents, V terms, P postings (pairs of a term and a document that contains it), B bytes of all terms.
"""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_array, csr_array

Ints = NDArray[Any]
MAX_FREQUENCY = 65_535
PART = 1 << 24
"""How many indices are looked up at once, since numpy converts them to int64."""


class Postings(NamedTuple):
    """The postings of a collection: for each term, ordered by its UTF-8 bytes, the documents with this term.

    text [B], uint8: the terms, without anything between them. text_starts [V + 1], int64: where each term begins, and
    where the last one ends. starts [V + 1], int64: the same for the postings of each term.
    documents [P], int32: numbers of the documents, ascending for each term. frequencies [P], uint8 or uint16: how often
    the document contains the term, at most MAX_FREQUENCY. lengths [N], uint8, uint16 or uint32: number of terms of each
    document, repeated ones included. posting_lengths [P]: the length of each posting's document, which a search would
    otherwise gather from all over `lengths`.
    """

    text: Ints
    text_starts: Ints
    starts: Ints
    documents: Ints
    frequencies: Ints
    lengths: Ints
    posting_lengths: Ints

    @property
    def sizes(self) -> dict[str, int]:
        """The numbers of documents, terms and postings."""
        return {"documents": len(self.lengths), "terms": len(self.starts) - 1, "postings": len(self.documents)}

    def list_terms(self) -> list[bytes]:
        """Return all terms in their order, as UTF-8."""
        text = self.text.tobytes()
        return [text[start:end] for start, end in pairwise(self.text_starts.tolist())]

    def find_term(self, term: bytes) -> tuple[int, bool]:
        """Return how many terms are before `term` in the order, and whether the next one is `term`."""
        text, starts = self.text.data, self.text_starts.data
        size = len(starts) - 1
        place = bisect_left(range(size), term, key=lambda i: bytes(text[starts[i] : starts[i + 1]]))
        return place, place < size and text[starts[place] : starts[place + 1]] == term


def count_terms(numbers: Ints, lengths: Ints, terms: Sequence[str]) -> Postings:
    """Count the terms of all documents.

    numbers: the index in `terms` of every term of every document, int32. lengths [N]: how many of them each document
    has. terms [V]: the distinct terms in any order.
    """
    encoded = [term.encode() for term in terms]
    order = sorted(range(len(terms)), key=encoded.__getitem__)
    ranks = np.empty(len(terms), np.int32)
    ranks[order] = np.arange(len(terms), dtype=np.int32)
    columns = _look_up(ranks, numbers)
    counts = csr_array((np.ones(len(columns), np.int32), columns, _sum_up(lengths)), shape=(len(lengths), len(terms)))
    counts.sum_duplicates()
    by_term = counts.tocsc()
    return _complete(
        text=np.frombuffer(bytearray().join(encoded[i] for i in order), np.uint8),
        text_starts=_sum_up([len(encoded[i]) for i in order]),
        starts=by_term.indptr.astype(np.int64),
        documents=by_term.indices.astype(np.int32, copy=False),
        frequencies=by_term.data.clip(max=MAX_FREQUENCY),
        lengths=lengths,
    )


def append_documents(old: Postings, new: Postings) -> Postings:
    """Return the postings of the documents of `old` followed by those of `new`, as if they were counted together."""
    found = [old.find_term(term) for term in new.list_terms()]
    places = np.array([place for place, _ in found], np.int64)
    known = np.array([is_known for _, is_known in found], bool)
    added = places[~known]
    sizes, counts, old_counts = np.diff(new.text_starts), np.diff(new.starts), np.diff(old.starts)
    old_counts[places[known]] += counts[known]
    at = np.repeat(old.starts[places + known], counts)
    frequency_type = np.promote_types(old.frequencies.dtype, new.frequencies.dtype)
    return _complete(
        text=np.insert(old.text, np.repeat(old.text_starts[added], sizes[~known]), new.text[np.repeat(~known, sizes)]),
        text_starts=_sum_up(np.insert(np.diff(old.text_starts), added, sizes[~known])),
        starts=_sum_up(np.insert(old_counts, added, counts[~known])),
        documents=np.insert(old.documents, at, new.documents + np.int32(len(old.lengths))),
        frequencies=np.insert(old.frequencies.astype(frequency_type, copy=False), at, new.frequencies),
        lengths=np.concatenate([old.lengths, new.lengths]),
    )


def select_documents(postings: Postings, doc_indices: Ints) -> Postings:
    """Return the postings of some documents, given in ascending order, as if only these were counted."""
    wanted = np.zeros(len(postings.lengths), bool)
    wanted[doc_indices] = True
    kept = _look_up(wanted, postings.documents)
    counts = np.add.reduceat(kept, postings.starts[:-1], dtype=np.int64)
    used = counts > 0
    sizes = np.diff(postings.text_starts)
    new_numbers = np.cumsum(wanted, dtype=np.int32) - np.int32(1)
    return _complete(
        text=postings.text[np.repeat(used, sizes)],
        text_starts=_sum_up(sizes[used]),
        starts=_sum_up(counts[used]),
        documents=_look_up(new_numbers, postings.documents[kept]),
        frequencies=postings.frequencies[kept],
        lengths=postings.lengths[doc_indices],
    )


def reorder_documents(postings: Postings, order: Ints) -> Postings:
    """Return the postings of the same documents in another order. order [N]: the old numbers in the new order."""
    new_numbers = np.empty(len(order), np.int32)
    new_numbers[order] = np.arange(len(order), dtype=np.int32)
    entries = postings.frequencies.copy(), _look_up(new_numbers, postings.documents), postings.starts
    by_term = csc_array(entries, shape=(len(order), len(postings.starts) - 1))
    by_term.sort_indices()
    return _complete(
        text=postings.text,
        text_starts=postings.text_starts,
        starts=postings.starts,
        documents=by_term.indices.astype(np.int32, copy=False),
        frequencies=by_term.data,
        lengths=postings.lengths[order],
    )


def _complete(
    text: Ints, text_starts: Ints, starts: Ints, documents: Ints, frequencies: Ints, lengths: Ints
) -> Postings:
    """Create postings from all arrays but the lengths of the postings, with the smallest types that hold the values."""
    frequencies = frequencies.astype(np.min_scalar_type(frequencies.max(initial=0)), copy=False)
    lengths = lengths.astype(np.min_scalar_type(lengths.max(initial=0)), copy=False)
    return Postings(text, text_starts, starts, documents, frequencies, lengths, _look_up(lengths, documents))


def _look_up(values: Ints, indices: Ints) -> Ints:
    """Return values[indices] with less memory."""
    result = np.empty(len(indices), values.dtype)
    for first in range(0, len(indices), PART):
        result[first : first + PART] = values[indices[first : first + PART]]
    return result


def _sum_up(sizes: Ints | Sequence[int]) -> Ints:
    """Return where each of some consecutive parts begins, and where the last one ends, as int64."""
    return np.append(np.int64(0), np.cumsum(sizes, dtype=np.int64))

"""The index of the lexical expert: BM25 scores of all documents that contain a term of a query.

It stores how often each document contains each term, from which the scores follow, so that documents can be added and
left out without reading the others again. Readers map the saved file into memory: several processes share it.

Shapes: N documents, p postings of the terms of a query, m matches.
"""

import math
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from genir.bm25.analysis import Analyzer, NgramAnalyzer, TermNumbering
from genir.config import BaselineConfig
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.scoring.postings import Postings, append_documents, count_terms, reorder_documents, select_documents

SETTINGS_FILE = "lexical.json"
POSTINGS_FILE = "postings.safetensors"
PART = 1 << 15
"""About how many postings are scored at once, so that all values for them stay in the cache of the processor."""
_Range = tuple[int, int, float]
"""Where the postings of a term begin and end, and the term's weight: its idf times its number in the query."""
MAX_NGRAM_SHARE = 0.1
"""N-grams that occur in a larger share of the documents are ignored: they take most of the time and tell little."""
CACHED_TERMS = 1 << 16
"""How many terms of earlier queries are not searched for again in the sorted terms."""
_ENTRY = np.dtype([("score", "<f4"), ("position", "<i4")])
"""A position and the score that one term adds there. As one integer, entries are ordered by position, then by score."""


class Matches(NamedTuple):
    """The documents with a term of a query. positions [m], int32: ascending. scores [m], float32: above 0."""

    positions: NDArray[np.int32]
    scores: NDArray[np.float32]


class Entries(NamedTuple):
    """The postings of a query's terms. A document's BM25 score is the sum of w f / (f + k1 (1 - b + b l)) over its own.

    positions [p], int32: the documents. frequencies [p]: f, how often the document contains the term. lengths [p]: l,
    the length of the document relative to the mean. weights [p]: w, the term's idf times its number in the query.
    """

    positions: NDArray[np.int32]
    frequencies: NDArray[np.float32]
    lengths: NDArray[np.float32]
    weights: NDArray[np.float32]


class LexicalIndex:
    """A BM25 index of the texts of documents, in Lucene's variant of the formula as bm25s computes it.

    A term that occurs twice in a query counts twice. Several threads may use the same index.

    settings: k1, b and the stemmer of `genir.bm25.analysis`. Raises GenirError for an unknown stemmer. ngram: None for
    words; a number for character n-grams of this size, of which those in many documents are ignored. term_weights: the
    factors of terms in queries (see `genir.scoring.term_weights`); other terms have the factor 1.
    """

    def __init__(
        self,
        postings: Postings,
        settings: BaselineConfig,
        ngram: int | None = None,
        term_weights: Mapping[str, float] | None = None,
    ) -> None:
        self.settings = settings
        self.ngram = ngram
        self.term_weights = term_weights or {}
        self._postings = postings
        self._analyzer = _make_analyzer(settings, ngram)
        self._max_documents = len(self) if ngram is None else max(1, int(MAX_NGRAM_SHARE * len(self)))
        self._find_term = lru_cache(CACHED_TERMS)(postings.find_term)
        lengths = np.arange(int(postings.lengths.max(initial=0)) + 1)
        self._mean_length = float(max(1, postings.lengths.sum()) / max(1, len(self)))
        norms = settings.k1 * (1 - settings.b + settings.b * lengths / self._mean_length)
        self._norms = norms.astype(np.float32)  # of each possible length

    @classmethod
    def build(cls, texts: Iterable[str], settings: BaselineConfig, ngram: int | None = None) -> "LexicalIndex":
        """Index the texts of documents, which are numbered from 0 in their order."""
        return cls(_count_texts(texts, settings, ngram), settings, ngram)

    def _replace(self, postings: Postings) -> "LexicalIndex":
        """Return the index of other documents with the same settings."""
        return LexicalIndex(postings, self.settings, self.ngram, self.term_weights)

    def __len__(self) -> int:
        return len(self._postings.lengths)

    def find_terms(self, text: str) -> list[str]:
        """Return the terms of a text, repeated ones included."""
        return self._analyzer.find_terms(text)

    def score_terms(self, text: str) -> dict[str, Matches]:
        """Return what each term of a query adds to the scores of the documents that contain it."""
        ranges = self._find_postings(text)
        return {term: Matches(*self._score_postings([found])) for term, found in ranges.items()}

    def score(self, text: str) -> Matches:
        """Return the BM25 scores of all documents with a term of a query."""
        ranges = list(self._find_postings(text).values())
        entries = np.empty(sum(last - first for first, last, _ in ranges), _ENTRY)
        start = 0
        for batch in _batch(ranges):
            documents, scores = self._score_postings(batch)
            here = entries[start : start + len(documents)]
            here["score"] = scores
            here["position"] = documents
            start += len(documents)
        entries.view("<i8").sort(kind="stable")  # the fastest, since the postings of each term are in order
        return _add_up(entries)

    def score_many(self, texts: Iterable[str]) -> Iterator[Matches]:
        """Yield the scores of each query."""
        return map(self.score, texts)

    def find_entries(self, texts: Iterable[str]) -> Iterator[Entries]:
        """Yield what the scores of each query are computed from: one entry for each term in a document."""
        for text in texts:
            documents, frequencies, lengths, weights = self._gather(list(self._find_postings(text).values()))
            relative = lengths.astype(np.float32) / np.float32(self._mean_length)
            yield Entries(documents, frequencies, relative, weights)

    def _find_postings(self, text: str) -> dict[str, _Range]:
        """Find the postings of the terms of a query."""
        found = {}
        for term, count in Counter(self.find_terms(text)).items():
            place, is_known = self._find_term(term.encode())
            first, last = self._postings.starts[place : place + 2].tolist() if is_known else (0, 0)
            weight = self.term_weights.get(term, 1.0)
            if weight > 0 and 0 < last - first <= self._max_documents:
                idf = math.log(1 + (len(self) - (last - first) + 0.5) / (last - first + 0.5))
                found[term] = first, last, count * idf * weight
        return found

    def _score_postings(self, ranges: Sequence[_Range]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the documents of some postings, and the score that each posting adds to its document."""
        documents, frequencies, lengths, weights = self._gather(ranges)
        return documents, frequencies / (frequencies + self._norms.take(lengths)) * weights

    def _gather(self, ranges: Sequence[_Range]) -> tuple[NDArray[Any], NDArray[np.float32], NDArray[Any], NDArray[Any]]:
        """Return documents, frequencies, lengths of the documents and weights of the terms of some postings."""
        arrays = self._postings.documents, self._postings.frequencies, self._postings.posting_lengths
        documents, frequencies, lengths = (
            np.concatenate([array[:0], *(array[first:last] for first, last, _ in ranges)]) for array in arrays
        )
        weights = np.repeat(
            np.array([weight for *_, weight in ranges], np.float32), [last - first for first, last, _ in ranges]
        )
        return documents, frequencies.astype(np.float32), lengths, weights

    def with_parameters(self, k1: float, b: float) -> "LexicalIndex":
        """Return the index of the same documents with other parameters of BM25."""
        settings = self.settings.model_copy(update={"k1": k1, "b": b})
        return LexicalIndex(self._postings, settings, self.ngram, self.term_weights)

    def with_term_weights(self, weights: Mapping[str, float]) -> "LexicalIndex":
        """Return the index of the same documents with other factors of terms."""
        return LexicalIndex(self._postings, self.settings, self.ngram, weights)

    def extended(self, texts: Iterable[str]) -> "LexicalIndex":
        """Return the index of the documents of this one followed by others, equal to one that is built of them all."""
        return self._replace(append_documents(self._postings, _count_texts(texts, self.settings, self.ngram)))

    def subset(self, doc_indices: Sequence[int] | NDArray[Any]) -> "LexicalIndex":
        """Return the index of some documents, equal to one that is built of only these.

        Raises ValueError unless their numbers are ascending.
        """
        chosen = np.asarray(doc_indices, np.int64)
        if (np.diff(chosen, prepend=-1) <= 0).any():
            raise ValueError("the numbers of the documents must be ascending and at least 0")
        return self._replace(select_documents(self._postings, chosen))

    def reordered(self, order: Sequence[int] | NDArray[Any]) -> "LexicalIndex":
        """Return the index of the same documents in another order, equal to one that is built in this order.

        order [N]: the numbers of the documents in the new order. Raises ValueError unless each of them occurs once.
        """
        chosen = np.asarray(order, np.int64)
        if not np.array_equal(np.sort(chosen), np.arange(len(self))):
            raise ValueError("the order must contain the number of every document once")
        return self._replace(reorder_documents(self._postings, chosen))

    def save(self, folder: Path) -> None:
        """Write the index as a folder, completely or not at all: lexical.json and postings.safetensors."""
        with atomic_folder(folder) as new:
            save_file({k: torch.from_numpy(v) for k, v in self._postings._asdict().items()}, new / POSTINGS_FILE)
            settings = self.settings.model_dump(include={"k1", "b", "stemmer"})
            settings |= {"ngram": self.ngram, "term_weights": dict(self.term_weights)}
            write_json(new / SETTINGS_FILE, settings | self._postings.sizes)

    @classmethod
    def load(cls, folder: Path) -> "LexicalIndex":
        """Map a saved index into memory; its pages are read when a search first touches them.

        Raises GenirError if a file is missing or damaged.
        """
        with reading_own_file(folder / SETTINGS_FILE) as path:
            sizes = read_json(path)
            values = {name: sizes.pop(name) for name in ("k1", "b", "stemmer")}
            ngram, term_weights = sizes.pop("ngram"), sizes.pop("term_weights", {})  # written since format 6
            try:
                settings = BaselineConfig(**values)
            except ValueError:
                raise ValueError(f"unknown settings {values}") from None
            if ngram is not None and (type(ngram) is not int or ngram < 1):
                raise ValueError(f"unknown size of n-grams {ngram!r}")
            for weight in term_weights.values():
                if type(weight) not in (int, float) or not 0 <= weight < math.inf:
                    raise ValueError(f"unknown weight of a term {weight!r}")
        with reading_own_file(folder / POSTINGS_FILE) as path:
            tensors = load_file(path)
            postings = Postings(*(tensors[name].numpy() for name in Postings._fields))
            _require_consistent(postings, sizes)
            return cls(postings, settings, ngram, term_weights)


def add_matches(parts: Sequence[Matches], weights: Sequence[float]) -> Matches:
    """Add up the scores of several indexes of the same documents, each times its weight."""
    if len(parts) == 1:
        return Matches(parts[0].positions, parts[0].scores * np.float32(weights[0]))
    entries = np.empty(sum(len(part.positions) for part in parts), _ENTRY)
    entries["position"] = np.concatenate([part.positions for part in parts])
    entries["score"] = np.concatenate([p.scores * np.float32(w) for p, w in zip(parts, weights, strict=True)])
    entries.view("<i8").sort(kind="stable")
    return _add_up(entries)


def _make_analyzer(settings: BaselineConfig, ngram: int | None) -> Analyzer:
    return Analyzer(settings.stemmer) if ngram is None else NgramAnalyzer(ngram)


def _count_texts(texts: Iterable[str], settings: BaselineConfig, ngram: int | None) -> Postings:
    numbering = TermNumbering(_make_analyzer(settings, ngram))
    numbers, lengths = array("i"), array("i")
    for text in texts:
        terms = numbering.number_terms(text)
        numbers.extend(terms)
        lengths.append(len(terms))
    return count_terms(np.asarray(numbers), np.asarray(lengths), list(numbering.numbers))


def _batch(ranges: Iterable[_Range]) -> Iterator[list[_Range]]:
    """Divide ranges of postings into batches of fewer than 2 * PART postings; long ranges are split."""
    batch: list[_Range] = []
    size = 0
    for first, last, weight in ranges:
        for start in range(first, last, PART):
            end = min(start + PART, last)
            batch.append((start, end, weight))
            size += end - start
            if size >= PART:
                yield batch
                batch, size = [], 0
    if batch:
        yield batch


def _add_up(entries: NDArray[Any]) -> Matches:
    """Add up the scores of the entries [p] with the same position; the entries are in order."""
    positions, scores = entries["position"], entries["score"]
    repeated = np.flatnonzero(positions[1:] == positions[:-1]) + 1
    is_first = np.ones(len(entries), bool)
    is_first[repeated] = False
    totals = scores[is_first]
    # Before the k-th repeated entry are k others, which leaves the index of its position among the totals.
    np.add.at(totals, repeated - np.arange(1, len(repeated) + 1), scores[repeated])
    return Matches(positions[is_first], totals)


def _require_consistent(postings: Postings, sizes: dict[str, int]) -> None:
    """Raise ValueError unless the arrays have the sizes that lexical.json gives, and end where they should."""
    ends = postings.text_starts[-1], postings.starts[-1]
    lengths = [len(postings.text_starts) - 1, len(postings.frequencies), len(postings.posting_lengths)]
    expected = [sizes["terms"], sizes["postings"], sizes["postings"]]
    if postings.sizes != sizes or lengths != expected or ends != (len(postings.text), sizes["postings"]):
        raise ValueError(f"the arrays do not have the sizes that {SETTINGS_FILE} gives")

"""BM25 over title and text with the library bm25s, in Lucene's variant of the formula."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from genir.bm25.analysis import Analyzer, TermNumbering
from genir.config import BaselineConfig
from genir.records import Document


class BM25sIndex:
    """A BM25 index of the documents' titles and texts, held in memory.

    settings: k1, b and the stemmer of `genir.bm25.analysis`. doc_ids: the ids of the indexed documents in their order.
    num_empty: how many of them have no term. Raises GenirError for an unknown stemmer.
    """

    def __init__(self, documents: Iterable[Document], settings: BaselineConfig) -> None:
        # bm25s imports jax if it is installed, and jax would reserve three quarters of a GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import bm25s

        self._analyzer = Analyzer(settings.stemmer)
        self.doc_ids: list[str] = []
        self._index = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
        terms = self._tokenize(self._read_bodies(documents))
        self.num_empty = terms.ids.count([])
        self._has_terms = self.num_empty < len(self.doc_ids)
        if self._has_terms:  # bm25s cannot index texts that are all empty
            self._index.index(terms, show_progress=False)

    def _read_bodies(self, documents: Iterable[Document]) -> Iterator[str]:
        """Yield the texts to index, and append the ids of the documents to `doc_ids`."""
        for document in documents:
            self.doc_ids.append(document.id)
            yield document.body

    def _tokenize(self, texts: Iterable[str]) -> Any:
        from bm25s.tokenization import Tokenized

        numbering = TermNumbering(self._analyzer)
        return Tokenized([numbering.number_terms(text) for text in texts], numbering.numbers)

    def count_empty(self, queries: Sequence[str]) -> int:
        """Return how many of the queries have no term, so that no document can match them."""
        empty: int = self._tokenize(queries).ids.count([])
        return empty

    def search_many(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """Return the k best (doc_id, score) pairs of each query, best first; documents with score 0 are omitted."""
        if not self._has_terms or not queries:
            return [[] for _ in queries]
        doc_indices, scores = self._index.retrieve(
            self._tokenize(queries), k=min(k, len(self.doc_ids)), show_progress=False, backend_selection="numpy"
        )
        return [
            [(self.doc_ids[doc_index], float(score)) for doc_index, score in zip(*hits, strict=True) if score > 0]
            for hits in zip(doc_indices.tolist(), scores.tolist(), strict=True)
        ]

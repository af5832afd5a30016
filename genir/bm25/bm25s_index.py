"""BM25 over title and text, through bm25s (Lucene's variant)."""

import os
from collections.abc import Iterable, Sequence
from typing import Any

from genir.config import BaselineConfig
from genir.errors import GenirError
from genir.records import Document


class BM25:
    """An index of the documents, in their order."""

    def __init__(self, documents: Iterable[Document], settings: BaselineConfig) -> None:
        # bm25s starts jax where it finds it, which would take three quarters of a GPU's memory.
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        import bm25s

        self.stemmer = _stemmer(settings.stemmer)
        self.doc_ids: list[str] = []
        self._index = bm25s.BM25(method="lucene", k1=settings.k1, b=settings.b)
        self._index.index(self._tokens(self._bodies(documents)), show_progress=False)

    def _bodies(self, documents: Iterable[Document]) -> list[str]:
        bodies = []
        for document in documents:
            self.doc_ids.append(document.id)
            bodies.append(document.body)
        return bodies

    def _tokens(self, texts: Sequence[str]) -> Any:
        import bm25s

        return bm25s.tokenize(list(texts), stopwords="en", stemmer=self.stemmer, show_progress=False)

    def search_many(self, queries: Sequence[str], k: int) -> list[list[tuple[str, float]]]:
        """The k best (doc_id, score) for each query; documents that share no word with it are left out."""
        rows, scores = self._index.retrieve(
            self._tokens(queries), k=min(k, len(self.doc_ids)), show_progress=False, backend_selection="numpy"
        )
        return [
            [(self.doc_ids[row], float(score)) for row, score in zip(row_list, score_list, strict=True) if score > 0]
            for row_list, score_list in zip(rows.tolist(), scores.tolist(), strict=True)
        ]


def _stemmer(language: str | None) -> Any:
    import Stemmer

    if language is None:
        return None
    if language not in Stemmer.algorithms():
        raise GenirError(f"baseline.stemmer: no stemmer {language!r}; there are: {', '.join(Stemmer.algorithms())}")
    return Stemmer.Stemmer(language)

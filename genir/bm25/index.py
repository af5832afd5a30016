"""BM25 by the name of its back end."""

from collections.abc import Iterable

from genir.bm25.bm25s_index import BM25
from genir.bm25.lucene_index import Lucene
from genir.config import BaselineConfig
from genir.records import Document

BACKENDS: dict[str, type[BM25] | type[Lucene]] = {"bm25s": BM25, "pyserini": Lucene}


def open_index(documents: Iterable[Document], settings: BaselineConfig) -> BM25 | Lucene:
    """An index of the documents with the section's back end."""
    return BACKENDS[settings.backend](documents, settings)

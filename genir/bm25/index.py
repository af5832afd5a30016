"""Choosing the implementation of BM25 that the section `baseline` of a config names."""

from collections.abc import Iterable

from genir.bm25.bm25s_index import BM25sIndex
from genir.bm25.lucene_index import LuceneIndex
from genir.config import BaselineConfig
from genir.records import Document

BM25Index = BM25sIndex | LuceneIndex
BACKENDS: dict[str, type[BM25sIndex] | type[LuceneIndex]] = {"bm25s": BM25sIndex, "pyserini": LuceneIndex}
"""Name of a back end (the setting baseline.backend) -> its index."""


def open_index(documents: Iterable[Document], settings: BaselineConfig) -> BM25Index:
    """Index the documents with the back end `settings.backend`; raises GenirError if it is not installed."""
    return BACKENDS[settings.backend](documents, settings)

"""BM25 over title and text, by bm25s or by Lucene."""

from genir.bm25.bm25s_index import BM25
from genir.bm25.index import BACKENDS, open_index
from genir.bm25.lucene_index import Lucene

__all__ = [
    "BACKENDS",
    "BM25",
    "Lucene",
    "open_index",
]

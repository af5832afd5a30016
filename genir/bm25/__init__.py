"""BM25 over title and text, with bm25s or with Lucene."""

from genir.bm25.bm25s_index import BM25sIndex
from genir.bm25.index import BACKENDS, BM25Index, open_index
from genir.bm25.lucene_index import LuceneIndex

BM25 = BM25sIndex
"""The default index, which needs neither a JVM nor an extra."""

__all__ = [
    "BACKENDS",
    "BM25",
    "BM25Index",
    "BM25sIndex",
    "LuceneIndex",
    "open_index",
]

"""A dev split of pseudo queries, for collections that have no queries except those of the test splits."""

import heapq
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from itertools import islice

from genir.pseudo_queries.extractive import extract_all_queries
from genir.records import Document, Judgment, Query

MAX_QUERIES = 500
MAX_WORDS = 12
"""Largest number of words of a query."""
MAX_TRIED = 5
"""Number of the best pseudo queries of a document among which one is chosen."""


def make_dev_queries(documents: Sequence[Document], taken: Collection[str]) -> list[tuple[Query, Judgment]]:
    """Make a query with a judgment of grade 1 for each of at most MAX_QUERIES documents.

    The documents are those with the lowest hashes (CRC-32) of their ids, so that the choice depends on nothing else.
    A query is the best extractive pseudo query of its document that is not its title, or the title if there is no
    other; documents without words have none. taken: ids that the queries must not have, nor share a prefix with.
    """
    prefix = "pseudo-"
    while any(name.startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    ids = heapq.nsmallest(MAX_QUERIES, (document.id for document in documents), key=lambda i: (zlib.crc32(i.encode()), i))
    chosen = {*ids}
    found = []
    for doc_id, queries in extract_all_queries(documents, MAX_WORDS):
        if doc_id in chosen and (text := _choose(queries)):
            found.append((Query(f"{prefix}{doc_id}", text), Judgment(f"{prefix}{doc_id}", doc_id, 1)))
    return found


def _choose(queries: Iterator[str]) -> str:
    """Return the first query that differs from the title, which comes first; empty if the document has no words."""
    texts = [" ".join(text.split()) for text in islice(queries, MAX_TRIED)]
    texts = [text for text in texts if re.search(r"\w", text)]
    others = [text for text in texts if text.casefold() != texts[0].casefold()]
    return next(iter(others or texts), "")

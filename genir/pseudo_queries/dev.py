"""A dev split of pseudo queries, for collections that have no queries except those of the test splits."""

import heapq
import random
import zlib
from collections.abc import Collection, Sequence

from genir.docids.tfidf import HashedTfidf
from genir.pseudo_queries.extractive import MAX_CHARACTERS, shorten
from genir.records import Document, Judgment, Query
from genir.words import compose_marks, split_sentences

MAX_QUERIES = 500
WORDS = 3
"""Words of a query: so few that BM25 ranks the document about as high as for questions of users."""


def make_dev_queries(documents: Sequence[Document], taken: Collection[str]) -> list[tuple[Query, Judgment]]:
    """Make a query with a judgment of grade 1 for each of at most MAX_QUERIES documents.

    A query consists of WORDS words of a sentence; sentence and words are drawn at random, without stop words. If no
    sentence has so many, the query is shorter, and a document without such words has no query. The documents are those
    with the lowest hashes (CRC-32) of their ids. The seed of a query is the id of its document, on which alone it
    depends. taken: ids in use; the prefix of the new ids is chosen so that none of these begins with it.
    """
    prefix = "pseudo-"
    while any(name.startswith(prefix) for name in taken):
        prefix = f"_{prefix}"
    ids = (document.id for document in documents)
    chosen = {*heapq.nsmallest(MAX_QUERIES, ids, key=lambda doc_id: (zlib.crc32(doc_id.encode()), doc_id))}
    selected = [document for document in documents if document.id in chosen]
    tfidf = HashedTfidf.fit(selected)
    found = []
    for document in selected:
        if text := _draw_words(document, tfidf):
            found.append((Query(f"{prefix}{document.id}", text), Judgment(f"{prefix}{document.id}", document.id, 1)))
    return found


def _draw_words(document: Document, tfidf: HashedTfidf) -> str:
    """Draw words of a sentence of the document, or of its title if it has no sentence; empty if it has no words."""
    rng = random.Random(document.id)
    text = compose_marks(document.text[:MAX_CHARACTERS])
    sentences = split_sentences(text) or [compose_marks(document.body[:MAX_CHARACTERS])]
    words_of = {sentence: dict.fromkeys(tfidf.split_words(sentence)) for sentence in sentences}
    count = min(WORDS, max(map(len, words_of.values())))
    sentence = rng.choice([sentence for sentence, words in words_of.items() if len(words) >= count])
    return shorten(sentence, {word: rng.random() for word in words_of[sentence]}, count) if count else ""

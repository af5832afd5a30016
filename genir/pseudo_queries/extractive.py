"""Extractive pseudo queries, for which no model is needed: a document's title, headings, sentences and keyphrases.

Sentences and keyphrases are ranked by the TF-IDF of their words, so that those specific to the document come first.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest

from genir.docids.tfidf import HashedTfidf
from genir.records import Document

BLOCK_SIZE = 1000  # documents whose words are hashed in one call
MAX_CHARACTERS = 20_000  # characters of a text that are used; the rest is ignored
MAX_HEADING_WORDS = 8
MAX_PHRASE_WORDS = 4
WORD = re.compile(r"\w+")
Weights = Mapping[str, float]
"""Lower-case content word of a document -> its TF-IDF; stop words and single letters are not included."""


def extract_all_queries(documents: Iterable[Document], max_words: int) -> Iterator[tuple[str, Iterator[str]]]:
    """Yield (doc_id, queries) for each document, the best queries first.

    The title is followed by a sentence, a keyphrase and a heading in turn. A sentence is shortened to its `max_words`
    words with the highest TF-IDF. Keyphrases and headings are preceded by the title, because many of them ("History")
    do not identify a document on their own. documents: is iterated twice.
    """
    tfidf = HashedTfidf.fit(documents)
    remaining = iter(documents)
    while block := list(islice(remaining, BLOCK_SIZE)):
        counts = [
            Counter(tfidf.split_words(f"{document.title} {document.text[:MAX_CHARACTERS]}")) for document in block
        ]
        words = list(dict.fromkeys(chain.from_iterable(counts)))
        idf = dict(zip(words, tfidf.idf_of(words).tolist(), strict=True))
        for document, count in zip(block, counts, strict=True):
            weights = {word: times * idf[word] for word, times in count.items()}
            yield document.id, extract_queries(document, weights, max_words)


def extract_queries(document: Document, weights: Weights, max_words: int) -> Iterator[str]:
    """Yield the queries of one document, best first; a query may occur twice."""
    title = " ".join(document.title.split())
    text = document.text[:MAX_CHARACTERS]
    yield title
    kinds = (
        [shorten(sentence, weights, max_words) for sentence in rank_by_weight(split_sentences(text), weights)],
        [prepend_title(title, phrase) for phrase in rank_by_weight(find_keyphrases(text, weights), weights)],
        [prepend_title(title, heading) for heading in find_headings(text)],
    )
    yield from (query for turn in zip_longest(*kinds) for query in turn if query is not None)


def split_sentences(text: str) -> list[str]:
    """Split a text after full stops, exclamation and question marks, and at line ends.

    Parts of at most MAX_PHRASE_WORDS words are omitted.
    """
    return [part for part in re.split(r"(?<=[.!?])\s+|\n+", text) if len(WORD.findall(part)) > MAX_PHRASE_WORDS]


def find_headings(text: str) -> list[str]:
    """Find the headings of a text with several lines: its short lines that end with a letter or digit.

    Markup such as == and # around a heading is removed, and at most MAX_HEADING_WORDS words count as short.
    """
    lines = text.split("\n")
    bare = (re.sub(r"^[\s#=*]+|[\s#=*]+$", "", line) for line in lines if len(lines) > 1)
    return [line for line in bare if 0 < len(line.split()) <= MAX_HEADING_WORDS and line[-1].isalnum()]


def find_keyphrases(text: str, weights: Weights) -> list[str]:
    """Find sequences of content words between stop words and punctuation, as RAKE does (Rose et al., 2010).

    A sequence of more than MAX_PHRASE_WORDS words is split. Phrases that differ only in case are returned once.
    """
    found: dict[str, str] = {}
    for fragment in re.split(r"[^\w\s'\u2019-]+|\n", text):
        phrase: list[str] = []
        for word in [*WORD.findall(fragment), ""]:
            if word.lower() in weights and len(phrase) < MAX_PHRASE_WORDS:
                phrase.append(word)
            elif phrase:
                found.setdefault(" ".join(phrase).lower(), " ".join(phrase))
                phrase = [word] if word.lower() in weights else []
    return list(found.values())


def rank_by_weight(parts: Sequence[str], weights: Weights) -> list[str]:
    """Sort texts by the sum of the weights of their distinct words, highest first; equal ones keep their order."""
    return sorted(parts, key=lambda part: -sum(weights.get(word, 0) for word in {*WORD.findall(part.lower())}))


def shorten(sentence: str, weights: Weights, max_words: int) -> str:
    """Shorten a sentence of more than `max_words` words to its distinct words with the highest weights, in their order.

    Punctuation is removed from sentences of any length.
    """
    words = WORD.findall(sentence)
    if len(words) <= max_words:
        return " ".join(words)
    first = {word.lower(): position for position, word in reversed(list(enumerate(words)))}
    best = sorted(first.values(), key=lambda position: (-weights.get(words[position].lower(), 0), position))
    return " ".join(words[position] for position in sorted(best[:max_words]))


def prepend_title(title: str, part: str) -> str:
    """Return the title followed by the words of `part` that the title does not contain."""
    in_title = {*WORD.findall(title.lower())}
    new = (word for word in part.split() if not in_title >= {*WORD.findall(word.lower())})
    return " ".join([title, *new]).strip()

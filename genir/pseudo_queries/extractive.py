"""Extractive pseudo queries, for which no model is needed: a document's title, headings, sentences and keyphrases.

Sentences and keyphrases are ranked by the TF-IDF of their words, so that those specific to the document come first. In
scripts without spaces, the words are the pairs of characters that `genir.words` finds; pairs that overlap or touch are
written without a space.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, zip_longest
from math import fsum  # exact, so that it does not depend on the order of a set

import regex

from genir.docids.tfidf import HashedTfidf
from genir.records import Document
from genir.words import Span, compose_marks, find_term_spans, find_terms, join_spans, split_sentences, split_units

BLOCK_SIZE = 1000  # documents whose words are hashed in one call
MAX_CHARACTERS = 20_000  # characters of a text that are used; the rest is ignored
MAX_HEADING_WORDS = 8
MAX_PHRASE_WORDS = 4
WORD_END = regex.compile(r"[\p{L}\p{N}]\p{M}*\Z")
FRAGMENT_END = regex.compile(r"[^\p{L}\p{N}\p{M}_\s\x1c-\x1f'\u2019-]+|\n")
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
    title = " ".join(compose_marks(document.title).split())
    text = compose_marks(document.text[:MAX_CHARACTERS])
    yield title
    kinds = (
        [shorten(sentence, weights, max_words) for sentence in rank_by_weight(split_sentences(text), weights)],
        [prepend_title(title, phrase) for phrase in rank_by_weight(find_keyphrases(text, weights), weights)],
        [prepend_title(title, heading) for heading in find_headings(text)],
    )
    yield from (query for turn in zip_longest(*kinds) for query in turn if query is not None)


def find_headings(text: str) -> list[str]:
    """Find the headings of a text with several lines: its short lines that end with a letter, mark or digit.

    Markup such as == and # around a heading is removed, and at most MAX_HEADING_WORDS words count as short.
    """
    lines = text.split("\n")
    bare = (re.sub(r"^[\s#=*]+|[\s#=*]+$", "", line) for line in lines if len(lines) > 1)
    return [line for line in bare if 0 < len(split_units(line)) <= MAX_HEADING_WORDS and WORD_END.search(line)]


def find_keyphrases(text: str, weights: Weights) -> list[str]:
    """Find sequences of content words between stop words and punctuation, as RAKE does (Rose et al., 2010).

    A sequence of more than MAX_PHRASE_WORDS words is split. Phrases that differ only in case are returned once.
    """
    found: dict[str, str] = {}
    for fragment in FRAGMENT_END.split(text):
        phrase: list[Span] = []
        for start, end in [*find_term_spans(fragment), (0, 0)]:
            known = fragment[start:end].lower() in weights
            if known and len(phrase) < MAX_PHRASE_WORDS:
                phrase.append((start, end))
            elif phrase:
                words = join_spans(fragment, phrase)
                found.setdefault(words.lower(), words)
                phrase = [(start, end)] if known else []
    return list(found.values())


def rank_by_weight(parts: Sequence[str], weights: Weights) -> list[str]:
    """Sort texts by the sum of the weights of their distinct words, highest first; equal ones keep their order."""
    return sorted(parts, key=lambda part: -fsum(weights.get(word, 0) for word in _words_of(part)))


def _words_of(text: str) -> set[str]:
    """Return the distinct words of a text in lower case, single letters included."""
    return {*find_terms(text.lower(), single=True)}


def shorten(sentence: str, weights: Weights, max_words: int) -> str:
    """Shorten a sentence of more than `max_words` words to its distinct words with the highest weights, in their order.

    Punctuation is removed from sentences of any length.
    """
    spans = find_term_spans(sentence)
    if len(spans) <= max_words:
        return join_spans(sentence, spans)
    first = {sentence[start:end].lower(): (start, end) for start, end in reversed(spans)}
    best = sorted(first, key=lambda word: (-weights.get(word, 0), first[word]))
    return join_spans(sentence, sorted(first[word] for word in best[:max_words]))


def prepend_title(title: str, part: str) -> str:
    """Return the title followed by the words of `part` that the title does not contain."""
    in_title = _words_of(title)
    new = (word for word in part.split() if not in_title >= _words_of(word))
    return " ".join([title, *new]).strip()

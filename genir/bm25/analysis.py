"""The text analysis of BM25: how texts become terms, for all BM25 indexes but Lucene's.

Texts are split as `genir.words` describes; case is ignored, and accents are not. English stop words are removed, and
the remaining words are stemmed.
"""

import threading
from typing import Any

from genir.errors import GenirError
from genir.words import find_terms

_STOP_WORDS = """
a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was
will with
"""
STOP_WORDS = frozenset(_STOP_WORDS.split())
"""Lucene's English stop words."""


class Analyzer:
    """Splits texts into terms. stemmer: language of the Snowball stemmer; None for words as they are.

    Several threads may use the same analyzer. Raises GenirError for an unknown stemmer.
    """

    def __init__(self, stemmer: str | None) -> None:
        self._stemmer = _load_stemmer(stemmer)
        self._lock = threading.Lock()  # a stemmer has buffers of its own

    def find_words(self, text: str) -> list[str]:
        """Return the words of a text in their order, in lower case and without stop words."""
        return [word for word in find_terms(text.lower()) if word not in STOP_WORDS]

    def stem(self, words: list[str]) -> list[str]:
        """Return the term of each word."""
        if self._stemmer is None:
            return words
        with self._lock:
            terms: list[str] = self._stemmer.stemWords(words)
        return terms

    def find_terms(self, text: str) -> list[str]:
        """Return the terms of a text in their order."""
        return self.stem(self.find_words(text))


class NgramAnalyzer(Analyzer):
    """Splits texts into the character n-grams of their words, by which similar words and neighbouring words match.

    A space is before, between and after the words, which are in lower case, not stemmed and without stop words: "red
    owl" has the 5-grams " red ", "red o", "ed ow", "d owl" and " owl ". size: the number of characters.
    """

    def __init__(self, size: int) -> None:
        super().__init__(None)
        self._size = size

    def find_words(self, text: str) -> list[str]:
        """Return the n-grams of a text in their order."""
        joined = " ".join(["", *super().find_words(text), ""])
        return [joined[i : i + self._size] for i in range(len(joined) - self._size + 1)]


class TermNumbering:
    """Numbers terms from 0 in the order in which they first occur.

    numbers: the number of each term so far. Each word is stemmed only once, which makes it fast for many texts.
    """

    def __init__(self, analyzer: Analyzer) -> None:
        self.numbers: dict[str, int] = {}
        self._analyzer = analyzer
        self._by_word: dict[str, int] = {}

    def number_terms(self, text: str) -> list[int]:
        """Return the numbers of the terms of a text in their order."""
        words = self._analyzer.find_words(text)
        known = self._by_word
        new = [word for word in dict.fromkeys(words) if word not in known]
        for word, term in zip(new, self._analyzer.stem(new), strict=True):
            known[word] = self.numbers.setdefault(term, len(self.numbers))
        return [known[word] for word in words]


def _load_stemmer(language: str | None) -> Any:
    import Stemmer

    if language is None:
        return None
    if language not in Stemmer.algorithms():
        raise GenirError(f"baseline.stemmer: no stemmer {language!r}; there are: {', '.join(Stemmer.algorithms())}")
    return Stemmer.Stemmer(language)

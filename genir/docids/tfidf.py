"""TF-IDF weights of hashed words, for keyword docids and extractive pseudo queries."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from genir.records import Document
from genir.words import find_terms

HASH_SIZE = 1 << 20


class HashedTfidf:
    """Inverse document frequencies of words; a word is identified by its hash, so that no vocabulary has to be stored.

    Words are the terms of `genir.words` in lower case; single letters and English stop words do not count as words.
    idf: [HASH_SIZE], the inverse document frequency of each hash value.
    """

    def __init__(self, idf: NDArray[np.float32]) -> None:
        self.idf = idf
        self._vectorizer = _make_vectorizer()
        self._split = self._vectorizer.build_analyzer()

    @classmethod
    def fit(cls, documents: Iterable[Document]) -> "HashedTfidf":
        """Compute the inverse document frequencies of a collection, whose documents are read once."""
        counts = _make_vectorizer().transform(document.body for document in documents)
        return cls(np.asarray(TfidfTransformer().fit(counts).idf_, np.float32))

    def split_words(self, text: str) -> list[str]:
        """Return the words of a text in their order."""
        words: list[str] = self._split(text)
        return words

    def idf_of(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Return the inverse document frequencies [n] of n words, each as `split_words` returns it."""
        result: NDArray[np.float32] = self.idf[self._hash(words)]
        return result

    def tfidf_of(self, words: Sequence[str], text: str) -> NDArray[np.float64]:
        """Return the TF-IDF [n] of n words: term frequency in the text times inverse document frequency."""
        columns = self._hash(words)
        frequency = np.asarray(self._vectorizer.transform([text])[:, columns].todense()).ravel()
        result: NDArray[np.float64] = frequency * self.idf[columns]
        return result

    def _hash(self, words: Sequence[str]) -> NDArray[Any]:
        if not words:
            return np.zeros(0, np.int32)
        columns: NDArray[Any] = self._vectorizer.transform(words).indices  # each word is a text of one word
        return columns


def _make_vectorizer() -> HashingVectorizer:
    return HashingVectorizer(
        n_features=HASH_SIZE,
        alternate_sign=False,
        norm=None,
        stop_words="english",
        tokenizer=find_terms,
        token_pattern=None,
    )

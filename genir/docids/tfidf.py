"""TF-IDF weights of hashed words, for text docids and pseudo queries."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from genir.records import Document


def hashing_vectorizer() -> HashingVectorizer:
    """Counts of words under a hash, so that no vocabulary needs to be kept."""
    return HashingVectorizer(n_features=1 << 20, alternate_sign=False, norm=None, stop_words="english")


def idf(documents: Iterable[Document]) -> NDArray[np.float32]:
    """Inverse document frequency of each hashed word."""
    counts = hashing_vectorizer().transform(document.body for document in documents)
    return np.asarray(TfidfTransformer().fit(counts).idf_, np.float32)

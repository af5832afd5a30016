import math
from collections import Counter

import numpy as np

from genir.docids.tfidf import HashedTfidf
from genir.records import Document

BODIES = ["owl owl mouse", "mouse tea", "tea tea kettle mouse"]
DOCUMENTS = [Document(str(i), "", text) for i, text in enumerate(BODIES)]
IDF = {  # smoothed, as scikit-learn defines it: log((1 + N) / (1 + df)) + 1
    word: math.log((1 + 3) / (1 + sum(word in text.split() for text in BODIES))) + 1
    for word in ("owl", "mouse", "tea", "kettle", "unknown")
}


def test_inverse_document_frequencies_follow_the_smoothed_formula():
    np.testing.assert_allclose(HashedTfidf.fit(DOCUMENTS).idf_of(list(IDF)), list(IDF.values()), rtol=1e-6)


def test_tfidf_is_the_term_frequency_times_the_inverse_document_frequency():
    tfidf = HashedTfidf.fit(DOCUMENTS)
    for text in BODIES:
        counts = Counter(text.split())
        wanted = [counts[word] * IDF[word] for word in IDF]
        np.testing.assert_allclose(tfidf.tfidf_of(list(IDF), text), wanted, rtol=1e-6)


def test_weights_restored_from_the_stored_frequencies_are_the_same():
    tfidf = HashedTfidf.fit(DOCUMENTS)
    assert (
        HashedTfidf(tfidf.idf).tfidf_of(["owl", "tea"], BODIES[2]) == tfidf.tfidf_of(["owl", "tea"], BODIES[2])
    ).all()


def test_stop_words_and_single_letters_are_not_words():
    tfidf = HashedTfidf.fit(DOCUMENTS)
    assert tfidf.split_words("The OWL and x saw a Mouse.") == ["owl", "saw", "mouse"]
    assert tfidf.idf_of([]).shape == tfidf.tfidf_of([], "owl").shape == (0,)


def test_words_of_other_scripts_have_their_own_frequencies():
    documents = [Document(str(i), "", text) for i, text in enumerate(["फल 東京", "फूल 東京", "फूल 京都"])]
    tfidf = HashedTfidf.fit(documents)
    for word, frequency in {"फल": 1, "फूल": 2, "東京": 2, "京都": 1}.items():
        assert tfidf.idf_of([word]) == np.float32(math.log(4 / (1 + frequency)) + 1)

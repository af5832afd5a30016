import math
from collections import Counter

import pytest

from genir.bm25.bm25s_index import BM25
from genir.config import BaselineConfig
from genir.errors import GenirError
from genir.records import Document

DOCUMENTS = [
    Document("a", "owls", "owls hunt mice; owls fly"),
    Document("b", "tea", "tea leaves wither"),
    Document("c", "mice", "mice eat tea leaves often, mice"),
]


def test_scores_are_the_formula_s():
    index = BM25(DOCUMENTS, BaselineConfig(k1=1.2, b=0.5, stemmer=None))
    words = [[w.strip(";,") for w in document.body.split()] for document in DOCUMENTS]
    average = sum(map(len, words)) / 3
    found = dict(index.search_many(["mice leaves"], 3)[0])
    for document, tokens in zip(DOCUMENTS, words, strict=True):
        score = 0.0
        for term in ("mice", "leaves"):
            df = sum(term in other for other in words)
            tf = Counter(tokens)[term]
            idf = math.log(1 + (3 - df + 0.5) / (df + 0.5))
            score += idf * tf / (tf + 1.2 * (1 - 0.5 + 0.5 * len(tokens) / average))
        assert found[document.id] == pytest.approx(score, rel=1e-5)


def test_documents_without_a_common_word_are_no_hits():
    index = BM25(DOCUMENTS, BaselineConfig(stemmer=None))
    assert [doc_id for doc_id, _ in index.search_many(["owls"], 10)[0]] == ["a"]
    assert index.search_many(["nothing like it"], 10) == [[]]


def test_stemming_is_a_choice_and_an_unknown_one_is_named():
    assert BM25(DOCUMENTS, BaselineConfig(stemmer=None)).search_many(["leaf hunting"], 3) == [[]]
    found = BM25(DOCUMENTS, BaselineConfig(stemmer="english")).search_many(["leaf hunting"], 3)[0]
    assert [doc_id for doc_id, _ in found] == ["a"]
    with pytest.raises(GenirError, match="no stemmer 'klingon'"):
        BM25(DOCUMENTS, BaselineConfig(stemmer="klingon"))

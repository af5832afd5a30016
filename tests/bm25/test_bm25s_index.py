import math
from collections import Counter

import pytest

from genir.bm25.bm25s_index import BM25sIndex
from genir.config import BaselineConfig
from genir.errors import GenirError
from genir.records import Document

DOCUMENTS = [
    Document("a", "owls", "owls hunt mice; owls fly"),
    Document("b", "tea", "tea leaves wither"),
    Document("c", "mice", "mice eat tea leaves often, mice"),
]


def test_scores_follow_lucene_s_bm25_formula():
    index = BM25sIndex(DOCUMENTS, BaselineConfig(k1=1.2, b=0.5, stemmer=None))
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


def test_hits_are_in_the_order_of_their_scores_and_at_most_k():
    index = BM25sIndex(DOCUMENTS, BaselineConfig(stemmer=None))
    [hits] = index.search_many(["mice leaves"], 3)
    assert [score for _, score in hits] == sorted((score for _, score in hits), reverse=True)
    assert index.search_many(["mice leaves"], 2) == [hits[:2]]


def test_documents_without_a_word_of_the_query_are_not_returned():
    index = BM25sIndex(DOCUMENTS, BaselineConfig(stemmer=None))
    assert [doc_id for doc_id, _ in index.search_many(["owls"], 10)[0]] == ["a"]
    assert index.search_many(["nothing like it"], 10) == [[]]


def test_stemming_is_a_setting_and_an_unknown_stemmer_is_an_error():
    assert BM25sIndex(DOCUMENTS, BaselineConfig(stemmer=None)).search_many(["leaf hunting"], 3) == [[]]
    found = BM25sIndex(DOCUMENTS, BaselineConfig(stemmer="english")).search_many(["leaf hunting"], 3)[0]
    assert [doc_id for doc_id, _ in found] == ["a"]
    with pytest.raises(GenirError, match="no stemmer 'klingon'"):
        BM25sIndex(DOCUMENTS, BaselineConfig(stemmer="klingon"))


def test_words_that_differ_in_a_mark_and_parts_of_unspaced_texts_are_found():
    texts = ["फल", "फूल", "東京大学", "京都大学", "ภาษาไทย", "العَرَبِيَّة"]
    index = BM25sIndex([Document(str(i), "", text) for i, text in enumerate(texts)], BaselineConfig())
    found = index.search_many(["फल", "फूल", "東京", "ไทย", "العَرَبِيَّة"], 6)
    assert [[doc_id for doc_id, _ in hits] for hits in found] == [["0"], ["1"], ["2"], ["4"], ["5"]]


@pytest.mark.parametrize("text", ["", "the of and to a in", "x y", "\u0301"])
def test_documents_without_terms_are_counted_and_never_found(text):
    empty = BM25sIndex([Document(str(i), "", text) for i in range(3)], BaselineConfig())
    assert empty.num_empty == 3
    assert empty.search_many(["owls", text], 2) == [[], []]
    mixed = BM25sIndex([Document("a", "", "owls"), Document("b", "", text)], BaselineConfig())
    assert mixed.num_empty == 1
    assert mixed.count_empty(["owls", text, ""]) == 2
    assert [doc_id for doc_id, _ in mixed.search_many(["owls"], 2)[0]] == ["a"]
    assert mixed.search_many([], 2) == []

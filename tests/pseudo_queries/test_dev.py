"""A dev split of pseudo queries."""

import zlib

from genir.pseudo_queries import dev
from genir.pseudo_queries.dev import make_dev_queries
from genir.records import Document
from tests.helpers.retrievers import make_documents


def word_documents(count, words=40):
    """Documents of two sentences, in which each word occurs once."""
    return [
        Document(f"d{i}", f"title{i}", " ".join(f"the w{i}x{j}{'.' if j == words // 2 else ''}" for j in range(words)))
        for i in range(count)
    ]


def test_each_query_has_a_few_words_of_one_sentence_of_its_document_in_their_order():
    documents = word_documents(20)
    for document, (query, judgment) in zip(documents, make_dev_queries(documents, []), strict=True):
        assert judgment == (query.id, document.id, 1)
        words = query.text.split()
        assert len(words) == dev.WORDS
        assert "the" not in words
        (sentence,) = [part.split() for part in document.text.split(".") if words[0] in part.split()]
        positions = [sentence.index(word) for word in words]
        assert positions == sorted(positions)


def test_a_query_depends_only_on_its_own_document_and_not_always_on_the_same_words():
    documents = word_documents(20)
    found = {query.id: query.text for query, _ in make_dev_queries(documents, [])}
    for document in documents:
        ((query, _),) = make_dev_queries([document], [])
        assert found[query.id] == query.text
    places = {tuple(word.split("x")[1] for word in text.split()) for text in found.values()}
    assert len(places) > 15


def test_the_documents_are_those_with_the_lowest_hashes(monkeypatch):
    monkeypatch.setattr(dev, "MAX_QUERIES", 7)
    documents = word_documents(50)
    chosen = {judgment.doc_id for _, judgment in make_dev_queries(documents, [])}
    assert chosen == {*sorted((d.id for d in documents), key=lambda name: zlib.crc32(name.encode()))[:7]}


def test_the_ids_collide_with_no_id_of_the_collection():
    documents = make_documents(3)
    assert {query.id for query, _ in make_dev_queries(documents, ["q1"])} == {"pseudo-d0", "pseudo-d1", "pseudo-d2"}
    taken = ["pseudo-d0", "_pseudo-other"]
    assert {query.id for query, _ in make_dev_queries(documents, taken)} == {f"__pseudo-d{i}" for i in range(3)}


def test_documents_with_little_text_have_shorter_queries_or_none():
    texts = {
        "empty": ("", ""),
        "marks": ("", "?!"),
        "title": ("Owls", ""),
        "chinese": ("", "东京大学是日本的国立大学。"),
        "stop words": ("", "It is what it was and so it will be."),
        "few words": ("", "It is what it was. The owls were not there, but mice were."),
    }
    documents = [Document(name, *content) for name, content in texts.items()]
    found = {judgment.doc_id: query.text for query, judgment in make_dev_queries(documents, [])}
    assert found.keys() == {"title", "chinese", "few words"}
    assert found["few words"] == "owls mice"
    assert found["title"] == "Owls"
    assert found["chinese"]

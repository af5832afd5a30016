"""The bundled collection has the properties that data/README.md states."""

import re
from collections import Counter

import pytest

from genir.collection import open_collection


@pytest.fixture(scope="module")
def data(root):
    return open_collection(root / "data" / "quickstart")


def split_words(text):
    return re.findall(r"[a-z0-9]+", text.lower())


def test_documents_are_short_and_each_subject_has_ten(data):
    documents = list(data.documents())
    assert len(documents) >= 240
    subjects = Counter(document.url.split("/")[1] for document in documents)
    assert len(subjects) >= 24
    assert min(subjects.values()) >= 10
    for document in documents:
        assert 50 <= len(document.text.split()) <= 90, document.id
        assert document.title
        assert re.fullmatch(r"/[a-z0-9-]+/[a-z0-9-]+", document.url)


def test_each_question_has_exactly_one_answer_and_its_other_judgments_are_on_the_same_subject(data):
    texts = {query.id: query.text for query in data.queries()}
    documents = {document.id: document for document in data.documents()}
    assert len(set(texts.values())) == len(texts)
    answers = Counter()
    for split in ("train", "dev", "test"):
        grades: dict = {}
        for _, judgment in data.judgments(split):
            assert judgment.grade in (1, 2)
            grades.setdefault(judgment.query_id, {})[judgment.doc_id] = judgment.grade
        for query_id, judged in grades.items():
            best = [doc_id for doc_id, grade in judged.items() if grade == 2]
            assert len(best) == 1, query_id
            answers[best[0]] += 1
            assert len({documents[doc_id].url.split("/")[1] for doc_id in judged}) == 1
    assert set(answers) == set(documents)
    assert min(answers.values()) >= 6


def test_no_question_has_five_consecutive_words_of_its_document(data):
    documents = {document.id: split_words(document.body) for document in data.documents()}
    texts = {query.id: split_words(query.text) for query in data.queries()}
    for split in ("train", "dev", "test"):
        for _, judgment in data.judgments(split):
            if judgment.grade == 2:
                text = " ".join(documents[judgment.doc_id])
                question = texts[judgment.query_id]
                sequences = [" ".join(question[i : i + 5]) for i in range(len(question) - 4)]
                assert not any(f" {sequence} " in f" {text} " for sequence in sequences), judgment

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genir.collection.beir import BeirCollection
from genir.collection.prepared import DocumentFile, PreparedCollection
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from tests.helpers.beir import write_beir

TEXTS = st.text(st.characters(codec="utf-8"))


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, TEXTS), min_size=1, max_size=9))
def test_a_document_file_behaves_as_the_list_of_its_documents(tmp_path_factory, fields):
    documents = [Document(f"d{number}", *row) for number, row in enumerate(fields)]
    rows = [{"_id": d.id, "title": d.title, "text": d.text, "url": d.url} for d in documents]
    found = DocumentFile(write_beir(tmp_path_factory.mktemp("x"), rows, [], {}) / "corpus.jsonl")
    assert len(found) == len(documents)
    assert list(found) == documents
    for index in range(-len(documents), len(documents)):
        assert found[index] == documents[index]
    start, stop = random.Random(len(documents)).sample(range(-9, 9), 2)
    assert found[start:stop] == documents[start:stop]
    assert found[::-2] == documents[::-2]
    with pytest.raises(IndexError):
        found[len(documents)]


def test_a_document_file_that_does_not_exist_says_which_stage_to_run(tmp_path):
    with pytest.raises(GenirError, match="run the prepare stage first"):
        DocumentFile(tmp_path / "corpus.jsonl")
    (tmp_path / "corpus.jsonl").write_text("")
    with pytest.raises(GenirError, match=r"corpus\.jsonl: this file is empty; run the prepare stage again"):
        DocumentFile(tmp_path / "corpus.jsonl")


def test_a_prepared_collection_gives_the_judged_queries_of_a_split_in_the_order_of_its_judgments(tmp_path):
    folder = write_beir(
        tmp_path,
        [{"_id": "d0", "title": "", "text": "x", "url": ""}],
        [{"_id": name, "text": f"query {name}"} for name in "abc"],
        {"train": [("c", "d0", 1), ("a", "d0", 2), ("c", "d0", 0)], "test": [("b", "d0", 1)]},
    )
    data = PreparedCollection(folder)
    assert data.splits == BeirCollection(folder, {}).splits
    assert data.queries("train") == [Query("c", "query c"), Query("a", "query a")]
    assert data.judgments("train")[1] == Judgment("a", "d0", 2)
    assert data.queries("test") == [Query("b", "query b")]
    with pytest.raises(GenirError, match="no split 'dev'"):
        data.judgments("dev")


@pytest.mark.parametrize("line", ["{", "[]", '{"_id": "x"}', "[" * 5_000, "\udcff"])
def test_a_damaged_file_is_an_error_that_names_the_line_and_the_stage_to_run(tmp_path, line):
    rows = [{"_id": "d0", "title": "", "text": "x", "url": ""}, {"_id": "d1", "title": "", "text": None, "url": ""}]
    path = write_beir(tmp_path, rows, [{"_id": "a", "text": "q"}], {"test": [("b", "d0", 1)]}) / "corpus.jsonl"
    with pytest.raises(GenirError, match=r"corpus\.jsonl:2: this file is damaged .*; run the prepare stage again"):
        list(DocumentFile(path))
    path.write_bytes(f"{line}\n".encode(errors="surrogateescape"))
    for read in (list, lambda documents: documents[0]):
        with pytest.raises(GenirError, match=r"corpus\.jsonl:1: this file is damaged"):
            read(DocumentFile(path))
    with pytest.raises(GenirError, match=r"query 'b' of test is not among the queries\); run the prepare stage again"):
        PreparedCollection(tmp_path).queries("test")

"""Natural Questions as NCI and DDRO prepare it, from examples in the two official formats."""

import gzip
import json

import pytest

from genir.collection.nq import NaturalQuestions
from genir.errors import GenirError
from genir.records import Document
from tests.helpers.beir import left_behind
from tests.helpers.nq import page_url, simplified_example, write_nq

TRAIN_FILE = "simplified-nq-train.jsonl.gz"


def pairs(collection, split):
    return {(judgment.query_id, judgment.doc_id) for _, judgment in collection.judgments(split)}


def test_pages_with_the_same_title_are_one_document_with_the_text_of_the_first(tmp_path):
    documents = list(NaturalQuestions(write_nq(tmp_path)).documents())
    assert [(d.id, d.title) for d in documents] == [
        ("11", "owls"),
        ("12", "don't look back"),
        ("14", "named by url"),
        ("15", "tea ( drink )"),
        ("22", "cafe"),
    ]
    assert documents[0] == Document("11", "owls", "First words . Then more links", page_url("Owls"))
    assert documents[2].text == "no paragraph either , cells"
    assert documents[4].text == "Of the dev file . Rest"


def test_every_question_is_judged_to_be_answered_by_the_page_of_its_title(tmp_path):
    collection = NaturalQuestions(write_nq(tmp_path))
    assert pairs(collection, "train") == {("11", "11"), ("12", "12"), ("13", "11"), ("14", "14"), ("15", "15")}
    assert pairs(collection, "test") == {("21", "12"), ("22", "22"), ("23", "22"), ("24", "15")}
    assert {query.id: query.text for query in collection.queries()}["21"] == "when was it"
    assert next(collection.judgments("train"))[0] == f"{tmp_path / TRAIN_FILE}:1"


def test_ddro_keeps_a_question_only_if_the_page_of_its_own_example_was_kept(tmp_path):
    collection = NaturalQuestions(write_nq(tmp_path), one_question_per_page=True)
    assert len(list(collection.documents())) == 5
    assert pairs(collection, "train") == {("11", "11"), ("12", "12"), ("14", "14"), ("15", "15")}
    assert pairs(collection, "test") == {("22", "22")}
    assert [query.id for query in collection.queries()] == ["11", "12", "14", "15", "22"]
    trained, tested = ({doc_id for _, doc_id in pairs(collection, split)} for split in ("train", "test"))
    assert not trained & tested


def test_the_prepared_collections_of_nci_and_ddro_have_the_same_documents_but_other_queries(prepare, tmp_path):
    write_nq(tmp_path / "raw")
    cards = []
    for name in ("nq320k", "nq320k-ddro"):
        prepare(name)
        cards.append(json.loads((tmp_path / "runs" / "c" / "collection" / "card.json").read_text()))
    assert cards[0]["documents"] == cards[1]["documents"]
    assert cards[0]["splits"]["test"] != cards[1]["splits"]["test"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"example_id": 1', "6: not valid JSON"),
        (json.dumps({"example_id": 1, "question_text": "x"}), "6: this line is not an example of Natural Questions"),
        ("[1]", "6: this line is not an example of Natural Questions"),
        (json.dumps(simplified_example(11, "Again")), "6: duplicate example_id 11"),
        (json.dumps(simplified_example(16, "x", " ")), "6: the question of example 16 is empty"),
        (json.dumps(simplified_example(16, "") | {"document_url": ""}), "6: example 16 has no title"),
    ],
)
def test_a_malformed_example_is_reported_with_file_and_line(tmp_path, line, words):
    path = write_nq(tmp_path) / TRAIN_FILE
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + line.encode() + b"\n"))
    with pytest.raises(GenirError) as error:
        list(NaturalQuestions(tmp_path).documents())
    assert f"{path}:{words}" in str(error.value)


def test_a_failed_prepare_stage_leaves_no_files(prepare, tmp_path):
    path = write_nq(tmp_path / "raw") / "nq-dev-all.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(GenirError, match=r"nq-dev-all\.jsonl\.gz:\d: .* damaged or "):
        prepare("nq320k")
    assert left_behind(tmp_path) == []


def test_files_without_examples_are_an_error(tmp_path):
    with pytest.raises(GenirError, match="this file contains no examples"):
        list(NaturalQuestions(write_nq(tmp_path, [], [])).documents())

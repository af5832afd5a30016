"""MS MARCO's collections, prepared from small files in the official formats."""

import gzip
import io
import json
import os
import tarfile
import tempfile
from pathlib import Path

import pytest

from genir.collection.msmarco import (
    DOCUMENT_SPLITS,
    DOCUMENT_TREC_SPLITS,
    PASSAGE_SPLITS,
    MsMarcoDocuments,
    MsMarcoPassages,
    SplitFiles,
)
from genir.collection.published import PUBLISHED
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from tests.helpers.beir import left_behind
from tests.helpers.raw_files import DOCUMENT_FILES, DOCUMENTS, TRAIN, join_columns, write_raw


def write_tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, rows in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(join_columns(rows))
            archive.addfile(entry, io.BytesIO(join_columns(rows)))


def test_the_raw_files_of_the_documents_are_those_of_the_official_collection():
    names = MsMarcoDocuments.raw_files(DOCUMENT_SPLITS | DOCUMENT_TREC_SPLITS)
    assert names == list(DOCUMENT_FILES)


def test_documents_and_queries_are_stripped_and_a_query_in_two_files_is_read_once(tmp_path):
    write_raw(
        tmp_path,
        {
            "msmarco-docs.tsv.gz": [("D1", " u ", " t ", " b\tc ")],
            "a.tsv": [("1", " two   words "), ("2", "x")],
            "b.tsv": [("2", "x"), ("3", "y")],
            "a.qrels": [("1", "0", "D1", "1")],
            "b.qrels": [("2  0\tD1 -1",), ("",)],
        },
    )
    splits = {"train": SplitFiles("a.tsv", "a.qrels"), "test": SplitFiles("b.tsv", "b.qrels")}
    collection = MsMarcoDocuments(tmp_path, splits)
    assert list(collection.documents()) == [Document("D1", "t", "b\tc", "u")]
    assert list(collection.queries()) == [Query("1", "two words"), Query("2", "x"), Query("3", "y")]
    assert list(collection.judgments("test")) == [(f"{tmp_path / 'b.qrels'}:1", Judgment("2", "D1", -1))]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_top300k_is_every_clicked_document_in_the_order_of_the_clicks(prepare, tmp_path, end):
    write_raw(tmp_path / "raw", DOCUMENT_FILES, end)
    data = prepare("msmarco-doc-top300k")
    assert list(data.documents) == [
        Document("D1", "Owls", "owls\thunt mice, a tab inside", "http://a.org/x"),
        Document("D2", "", "no title", "http://b.org/y"),
        Document("D3", "No body", "", "http://c.org/z"),
    ]
    assert data.queries("test") == [Query("11", "dev question 11"), Query("13", "dev question 13")]
    assert {j.query_id for split in ("train", "dev") for j in data.judgments(split)} == {query for query, _ in TRAIN}
    card = json.loads((tmp_path / "runs" / "c" / "collection" / "card.json").read_text())
    assert card["collection"] == "msmarco-doc-top300k"
    assert card["documents"]["count"] == 3


def test_the_whole_collection_has_its_trec_topics_and_no_unjudged_queries(prepare, tmp_path):
    write_raw(tmp_path / "raw", DOCUMENT_FILES)
    data = prepare("msmarco-doc", "search.splits=[test, dl19, dl20]")
    assert [d.id for d in data.documents] == ["D1", "D2", "D3", "D4"]
    assert data.judgments("dl19") == [Judgment("21", "D4", 3), Judgment("21", "D1", 0)]
    assert data.queries("dl20") == [Query("31", "later question")]
    assert "what is not judged" not in (data.folder / "queries.jsonl").read_text()


def test_passages_are_read_from_their_archives_and_a_repeated_judgment_is_kept_once(prepare, tmp_path):
    folder = write_raw(
        tmp_path / "raw",
        {
            "qrels.train.tsv": [(q, "0", p, "1") for q, p in ("10", "21", "30", "10", "41")],
            "msmarco-test2019-queries.tsv.gz": [("21", "what is judged")],
            "2019qrels-pass.txt": [("21 0 0 3",)],
            "msmarco-test2020-queries.tsv.gz": [("31", "later question")],
            "2020qrels-pass.txt": [("31 0 1 2",)],
        },
    )  # fmt: skip
    write_tar(folder / "queries.tar.gz", {"queries.train.tsv": [(str(i), f"question {i}") for i in range(1, 9)]})
    passages = [("0", "a passage with\ta tab"), ("1", "")]
    dev = {"queries.dev.small.tsv": [("11", "dev?")], "qrels.dev.small.tsv": [("11", "0", "1", "1")]}
    write_tar(folder / "collectionandqueries.tar.gz", {"collection.tsv": passages, **dev})
    data = prepare("msmarco-passage")
    assert list(data.documents) == [Document("0", "", "a passage with\ta tab"), Document("1", "", "")]
    assert len(data.judgments("train")) + len(data.judgments("dev")) == 4
    assert data.queries("test") == [Query("11", "dev?")]
    for name, rows in {"collection.tsv": passages, **dev}.items():
        (folder / name).write_bytes(join_columns(rows))
    (folder / "collectionandqueries.tar.gz").unlink()
    assert list(prepare("msmarco-passage").documents) == list(data.documents)


def test_an_archive_that_is_cut_short_or_lacks_a_file_is_reported(tmp_path):
    splits = {"train": PASSAGE_SPLITS["train"]}
    write_raw(tmp_path, {"qrels.train.tsv": [("1", "0", "0", "1")]})
    write_tar(tmp_path / "queries.tar.gz", {"queries.train.tsv": [("1", "question")]})
    write_tar(tmp_path / "collectionandqueries.tar.gz", {"other.tsv": []})
    with pytest.raises(GenirError, match=r"collectionandqueries\.tar\.gz: .*collection\.tsv"):
        list(MsMarcoPassages(tmp_path, splits).documents())
    long = [(str(i), os.urandom(30).hex()) for i in range(2000)]
    write_tar(tmp_path / "collectionandqueries.tar.gz", {"collection.tsv": long})
    content = (tmp_path / "collectionandqueries.tar.gz").read_bytes()
    (tmp_path / "collectionandqueries.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(GenirError, match=r"collectionandqueries\.tar\.gz/collection\.tsv:\d+: .* damaged"):
        list(MsMarcoPassages(tmp_path, splits).documents())


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        (
            "msmarco-docs.tsv.gz",
            ("D9", "http://x.org", "three columns"),
            "msmarco-docs.tsv.gz:5: 3 columns instead of 4",
        ),
        ("msmarco-docs.tsv.gz", DOCUMENTS[0], "msmarco-docs.tsv.gz:5: duplicate id 'D1'"),
        ("msmarco-docs.tsv.gz", ("", "u", "t", "b"), "msmarco-docs.tsv.gz:5: id must be"),
        ("msmarco-doctrain-queries.tsv.gz", ("8",), "msmarco-doctrain-queries.tsv.gz:8: 1 columns instead of 2"),
        ("msmarco-doctrain-queries.tsv.gz", ("8", " "), "msmarco-doctrain-queries.tsv.gz:8: the query is empty"),
        (
            "msmarco-doctrain-qrels.tsv.gz",
            ("8 0 D1",),
            "msmarco-doctrain-qrels.tsv.gz:8: a judgment must be: query 0 document grade",
        ),
        (
            "msmarco-doctrain-qrels.tsv.gz",
            ("8 0 D1 yes",),
            "msmarco-doctrain-qrels.tsv.gz:8: a judgment must be: query 0 document grade",
        ),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D7 1",), "document 'D7' is not in the corpus"),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D1 1",), "query '8' is not among the queries"),
    ],
)
def test_a_malformed_line_is_reported_and_the_stage_leaves_no_files(prepare, tmp_path, name, row, words):
    write_raw(tmp_path / "raw", DOCUMENT_FILES | {name: [*DOCUMENT_FILES[name], row]})
    with pytest.raises(GenirError) as error:
        prepare("msmarco-doc-top300k")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


def test_a_corpus_without_documents_is_an_error(tmp_path):
    write_raw(tmp_path, DOCUMENT_FILES | {"msmarco-docs.tsv.gz": []})
    with pytest.raises(GenirError, match=r"msmarco-docs\.tsv\.gz:1: this file contains no documents"):
        list(MsMarcoDocuments(tmp_path, DOCUMENT_SPLITS).documents())


def test_a_file_that_is_cut_short_or_not_utf_8_is_reported_and_the_stage_leaves_no_files(prepare, tmp_path):
    folder = write_raw(tmp_path / "raw", DOCUMENT_FILES)
    path = folder / "msmarco-docs.tsv.gz"
    whole = join_columns([*DOCUMENTS, ("D5", "u", "t", os.urandom(5000).hex())])
    path.write_bytes(gzip.compress(whole)[:-100])
    with pytest.raises(GenirError, match=r"msmarco-docs\.tsv\.gz:\d: the gzip file is damaged"):
        prepare("msmarco-doc-top300k")
    path.write_bytes(gzip.compress(whole + b"D6\tu\tt\t\xff\n"))
    with pytest.raises(GenirError, match=r"msmarco-docs\.tsv\.gz:6: not UTF-8"):
        prepare("msmarco-doc-top300k")
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_reported_and_the_stage_leaves_no_files(prepare, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", DOCUMENT_FILES)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: io.FileIO("/dev/full", "r+"))
    with pytest.raises(GenirError, match="no space left on the disk"):
        prepare("msmarco-doc-top300k")
    assert left_behind(tmp_path) == []


def test_every_difference_from_the_published_counts_is_listed_and_the_stage_leaves_no_files(prepare, tmp_path):
    write_raw(tmp_path / "raw", DOCUMENT_FILES)
    with pytest.raises(GenirError) as error:
        prepare("msmarco-doc-top300k", expect=True)
    for words in (
        "3 documents instead of 319,927",
        "7 train queries instead of 367,013",
        "2 test judgments instead of 808",
    ):
        assert words in str(error.value)
    assert left_behind(tmp_path) == []


def test_the_published_counts_are_compared_with_those_before_a_dev_split_was_carved(prepare, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", DOCUMENT_FILES)
    published = PUBLISHED["msmarco-doc-top300k"]
    counts = published.counts._replace(documents=3, splits={"train": (7, 7), "test": (2, 2)})
    monkeypatch.setitem(PUBLISHED, "msmarco-doc-top300k", published._replace(counts=counts))
    assert len(prepare("msmarco-doc-top300k", expect=True).documents) == 3

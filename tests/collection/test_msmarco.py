"""MS MARCO builds, made by the prepare stage from files in their true formats."""

import gzip
import http.server
import io
import json
import os
import tarfile
import tempfile
import threading
from functools import partial
from pathlib import Path

import ir_datasets
import pytest

from genir.collection.prepared import PreparedCollection
from genir.collection.published import PUBLISHED
from genir.collection.sources import Source, SourceGroup
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from indexing import prepare_collection
from tests.helpers.beir import left_behind
from tests.helpers.raw_files import table, write_raw

DOCS = [
    ("D1", "http://a.org/x", "Owls", "owls\thunt mice, a tab inside"),
    ("D2", "http://b.org/y", "", "no title"),
    ("D3", "http://c.org/z", "No body", ""),
    ("D4", "http://d.org/w", "Never clicked", "text"),
]
TRAIN = [("1", "D2"), ("2", "D1"), ("3", "D2"), ("4", "D3"), ("5", "D3"), ("6", "D1"), ("7", "D1")]
DEV = [("11", "D3"), ("12", "D4"), ("13", "D1")]
DOC_FILES = {
    "msmarco-docs.tsv.gz": DOCS,
    "msmarco-doctrain-queries.tsv.gz": [(q, f"train question {q}") for q, _ in TRAIN],
    "msmarco-doctrain-qrels.tsv.gz": [(f"{q} 0 {d} 1",) for q, d in TRAIN],
    "msmarco-docdev-queries.tsv.gz": [(q, f"dev question {q}") for q, _ in DEV],
    "msmarco-docdev-qrels.tsv.gz": [(f"{q} 0 {d} 1",) for q, d in DEV],
    "msmarco-test2019-queries.tsv.gz": [("21", "what is judged"), ("22", "what is not judged")],
    "2019qrels-docs.txt": [("21 0 D4 3",), ("21 0 D1 0",)],
    "msmarco-test2020-queries.tsv.gz": [("31", "later question")],
    "2020qrels-docs.txt": [("31 0 D2 2",)],
}


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def write_tar(path, files):
    with tarfile.open(path, "w:gz") as archive:
        for name, rows in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(table(rows))
            archive.addfile(entry, io.BytesIO(table(rows)))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_top300k_is_every_clicked_document_by_its_clicks(prepare, tmp_path, end):
    write_raw(tmp_path / "raw", DOC_FILES, end)
    data = prepare("msmarco-doc-top300k")
    assert list(data.documents) == [
        Document("D1", "Owls", "owls\thunt mice, a tab inside", "http://a.org/x"),
        Document("D2", "", "no title", "http://b.org/y"),
        Document("D3", "No body", "", "http://c.org/z"),
    ]
    assert data.queries("test") == [Query("11", "dev question 11"), Query("13", "dev question 13")]
    assert {j.query_id for split in ("train", "dev") for j in data.judgments(split)} == {q for q, _ in TRAIN}
    card = json.loads((tmp_path / "runs" / "c" / "collection" / "card.json").read_text())
    assert card["build"] == "msmarco-doc-top300k"
    assert card["documents"]["count"] == 3


def test_the_whole_collection_has_its_trec_topics_and_unjudged_queries_are_left_out(prepare, tmp_path):
    write_raw(tmp_path / "raw", DOC_FILES)
    data = prepare("msmarco-doc", "search.splits=[test, dl19, dl20]")
    assert [d.id for d in data.documents] == ["D1", "D2", "D3", "D4"]
    assert data.judgments("dl19") == [Judgment("21", "D4", 3), Judgment("21", "D1", 0)]
    assert "22" not in data._texts
    assert data.queries("dl20") == [Query("31", "later question")]


def test_passages_are_read_out_of_their_archives_and_a_repeated_judgment_counts_once(prepare, tmp_path):
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
    for name, rows in {"collection.tsv": passages, **dev}.items():  # unpacked, as others want it
        (folder / name).write_bytes(table(rows))
    (folder / "collectionandqueries.tar.gz").unlink()
    assert list(prepare("msmarco-passage").documents) == list(data.documents)


def test_an_archive_cut_short_or_without_its_file_is_named(prepare, tmp_path):
    folder = write_raw(tmp_path / "raw", {"qrels.train.tsv": [("1", "0", "0", "1")]})
    for name in ("msmarco-test2019-queries.tsv.gz", "2019qrels-pass.txt"):
        for year in ("2019", "2020"):
            (folder / name.replace("2019", year)).write_bytes(gzip.compress(b"") if name.endswith("gz") else b"")
    write_tar(folder / "queries.tar.gz", {"queries.train.tsv": [("1", "question")]})
    write_tar(folder / "collectionandqueries.tar.gz", {"other.tsv": []})
    with pytest.raises(GenirError, match=r"collectionandqueries\.tar\.gz: there is no collection\.tsv"):
        prepare("msmarco-passage", "search.splits=[train]")
    long = [(str(i), os.urandom(30).hex()) for i in range(2000)]
    write_tar(folder / "collectionandqueries.tar.gz", {"collection.tsv": long})
    content = (folder / "collectionandqueries.tar.gz").read_bytes()
    (folder / "collectionandqueries.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(GenirError, match=r"collectionandqueries\.tar\.gz/collection\.tsv:\d+: .*cut short"):
        prepare("msmarco-passage", "search.splits=[train]")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "row", "words"),
    [
        ("msmarco-docs.tsv.gz", ("D9", "http://x.org", "three columns"), "msmarco-docs.tsv.gz:5: 3 columns where 4"),
        ("msmarco-docs.tsv.gz", DOCS[0], "msmarco-docs.tsv.gz:5: duplicate id 'D1'"),
        ("msmarco-docs.tsv.gz", ("", "u", "t", "b"), "msmarco-docs.tsv.gz:5: an id must be"),
        ("msmarco-doctrain-queries.tsv.gz", ("8",), "msmarco-doctrain-queries.tsv.gz:8: 1 columns where 2"),
        ("msmarco-doctrain-queries.tsv.gz", ("8", " "), "msmarco-doctrain-queries.tsv.gz:8: the query is empty"),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D1",), "msmarco-doctrain-qrels.tsv.gz:8: not a judgment"),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D1 yes",), "msmarco-doctrain-qrels.tsv.gz:8: not a judgment"),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D7 1",), "document 'D7' is not in the corpus"),
        ("msmarco-doctrain-qrels.tsv.gz", ("8 0 D1 1",), "query '8' is not among the queries"),
    ],
)
def test_a_bad_line_is_named_and_nothing_is_left_behind(prepare, tmp_path, name, row, words):
    write_raw(tmp_path / "raw", DOC_FILES | {name: [*DOC_FILES[name], row]})
    with pytest.raises(GenirError) as error:
        prepare("msmarco-doc-top300k")
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert left_behind(tmp_path) == []


def test_a_file_cut_short_or_in_another_encoding_is_named(prepare, tmp_path):
    folder = write_raw(tmp_path / "raw", DOC_FILES)
    docs = folder / "msmarco-docs.tsv.gz"
    whole = table([*DOCS, ("D5", "u", "t", os.urandom(5000).hex())])
    docs.write_bytes(gzip.compress(whole)[:-100])
    with pytest.raises(GenirError, match=r"msmarco-docs\.tsv\.gz:\d: the gzip file is damaged or cut short"):
        prepare("msmarco-doc-top300k")
    docs.write_bytes(gzip.compress(whole + b"D6\tu\tt\t\xff\n"))
    with pytest.raises(GenirError, match=r"msmarco-docs\.tsv\.gz:6: not UTF-8"):
        prepare("msmarco-doc-top300k")
    assert left_behind(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_one_clear_line_and_nothing_is_left_behind(prepare, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", DOC_FILES)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: io.FileIO("/dev/full", "r+"))
    with pytest.raises(GenirError, match="no space left on the disk"):
        prepare("msmarco-doc-top300k")
    assert left_behind(tmp_path) == []


def test_wrong_counts_are_all_named_and_nothing_is_left_behind(prepare, tmp_path):
    write_raw(tmp_path / "raw", DOC_FILES)
    with pytest.raises(GenirError) as error:
        prepare("msmarco-doc-top300k", expect=True)
    for words in (
        "3 documents instead of 319,927",
        "7 train queries instead of 367,013",
        "2 test judgments instead of 808",
    ):
        assert words in str(error.value)
    assert left_behind(tmp_path) == []


def test_right_counts_pass_though_a_dev_split_was_carved_from_train(prepare, tmp_path, monkeypatch):
    write_raw(tmp_path / "raw", DOC_FILES)
    build = PUBLISHED["msmarco-doc-top300k"]
    counts = build.counts._replace(documents=3, splits={"train": (7, 7), "test": (2, 2)})
    monkeypatch.setitem(PUBLISHED, "msmarco-doc-top300k", build._replace(counts=counts))
    assert len(prepare("msmarco-doc-top300k", expect=True).documents) == 3


def test_download_fetches_what_is_missing_and_then_builds(prepare, tmp_path, monkeypatch):
    handler = partial(QuietHandler, directory=str(write_raw(tmp_path / "served", DOC_FILES)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=partial(server.serve_forever, 0.01)).start()
    address = f"http://127.0.0.1:{server.server_port}"
    sources = {name: Source(name, f"{address}/{name}") for name in DOC_FILES}
    groups = {"msmarco-doc": SourceGroup("msmarco-doc", "terms", sources)}
    monkeypatch.setattr(prepare_collection, "load_sources", lambda: groups)
    with pytest.raises(GenirError, match="missing; put them there"):
        prepare("msmarco-doc-top300k")
    try:
        prepare_collection.command(str(tmp_path / "c.yaml"), [], fetch=True)
        prepare_collection.command(str(tmp_path / "c.yaml"), [], fetch=True)
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(os.listdir(tmp_path / "raw")) == sorted(
        name for name in DOC_FILES if "2019" not in name and "2020" not in name
    )
    assert len(PreparedCollection(tmp_path / "runs" / "c" / "collection").documents) == 3


def test_an_ir_datasets_id_gives_the_same_build(prepare, tmp_path, monkeypatch):
    files = write_raw(tmp_path / "raw", DOC_FILES)
    data = prepare("msmarco-doc-top300k")
    (tmp_path / "docs.tsv").write_bytes(table([(d[0], f"{d[2]} {d[3]}".replace("\t", " ")) for d in DOCS]))
    docs = str(tmp_path / "docs.tsv")
    registry = ir_datasets.registry
    registry.register("genir-build", ir_datasets.create_dataset(docs_tsv=docs))
    for split, name in (("train", "doctrain"), ("dev", "docdev")):
        for kind in ("queries", "qrels"):
            (tmp_path / f"{name}-{kind}").write_bytes(
                gzip.decompress((files / f"msmarco-{name}-{kind}.tsv.gz").read_bytes())
            )
        part = ir_datasets.create_dataset(
            docs_tsv=docs,
            queries_tsv=str(tmp_path / f"{name}-queries"),
            qrels_trec=str(tmp_path / f"{name}-qrels"),
        )
        registry.register(f"genir-build/{split}", part)
    build = PUBLISHED["msmarco-doc-top300k"]
    monkeypatch.setitem(PUBLISHED, "msmarco-doc-top300k", build._replace(irds=("genir-build", build.irds[1])))
    try:
        other = prepare("msmarco-doc-top300k", path="irds:genir-build")
        assert [d.id for d in other.documents] == [d.id for d in data.documents]
        for split in ("train", "dev", "test"):
            assert other.judgments(split) == data.judgments(split)
            assert other.queries(split) == data.queries(split)
        with pytest.raises(GenirError, match="folder of raw files, or irds:genir-build"):
            prepare("msmarco-doc-top300k", path="irds:other")
        with pytest.raises(GenirError, match=r"made from a folder of raw files$"):
            prepare("nq320k", path="irds:other")
    finally:
        for name in ("genir-build", "genir-build/train", "genir-build/dev"):
            del registry._registered[name]

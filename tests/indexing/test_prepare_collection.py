import http.server
import json
import os
import re
import threading
from functools import partial

import pytest

from genir.collection.prepared import PreparedCollection
from genir.collection.sources import RawFile, RawFileGroup
from genir.config import load_config
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from indexing import prepare_collection
from tests.helpers.beir import beir_of_own_queries, left_behind, write_beir
from tests.helpers.raw_files import DOCUMENT_FILES, write_raw


@pytest.fixture
def prepare_beir(beir, tmp_path):
    """A function that runs the stage on the folder of the fixture `beir`, with overrides of settings."""
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")

    def run(*overrides):
        config = load_config(tmp_path / "c.yaml", overrides)
        prepare_collection.main(config)
        return PreparedCollection(config.run_folder / "collection")

    return run


def test_the_prepared_collection_has_the_documents_queries_and_judgments_of_the_source(prepare_beir):
    data = prepare_beir()
    assert [d.id for d in data.documents] == [f"d{i}" for i in range(12)]
    assert data.documents[5].url == "/x/5"
    assert data.judgments("dev")[:2] == [Judgment("q0-dev", "d0", 2), Judgment("q0-dev", "d4", 1)]
    assert data.queries("test")[0] == Query("q0-test", "where do owls hunt mice with keyword0 test")
    assert len(data.queries("train")) == 12


def test_preparing_a_prepared_collection_gives_the_same_files(prepare_beir):
    first = prepare_beir().folder
    second = prepare_beir("name=again", f"collection.path={first}").folder
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/dev.tsv", "qrels/test.tsv"):
        assert (second / name).read_bytes() == (first / name).read_bytes()


def test_a_dev_split_is_carved_from_train_by_query_and_is_always_the_same(prepare_beir, beir):
    (beir / "qrels" / "dev.tsv").unlink()
    first, second = (prepare_beir("collection.dev_fraction=0.4") for _ in range(2))
    dev = {query.id for query in first.queries("dev")}
    train = {query.id for query in first.queries("train")}
    assert dev
    assert train
    assert not dev & train
    assert dev | train == {f"q{i}-train" for i in range(12)}
    assert second.judgments("dev") == first.judgments("dev")
    assert len(first.judgments("dev")) == 2 * len(dev)
    assert len(first.queries("test")) == 12


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("qrels/test.tsv", "q0-test\tnowhere\t1", "test.tsv:26: document 'nowhere' is not in the corpus"),
        ("qrels/test.tsv", "q0-test\td0\t1", "test.tsv:26: query 'q0-test' and document 'd0' are judged twice"),
        ("queries.jsonl", '{"_id": "q", "text": ""}', "queries.jsonl:37: the query is empty"),
        ("corpus.jsonl", "{", "corpus.jsonl:13: not valid JSON"),
    ],
)
def test_an_error_in_a_file_is_reported_and_the_stage_leaves_no_files(prepare_beir, beir, tmp_path, name, line, words):
    with open(beir / name, "a") as handle:
        handle.write(line + "\n")
    with pytest.raises(GenirError, match=words):
        prepare_beir()
    assert left_behind(tmp_path) == []


def test_a_missing_split_is_reported_before_anything_is_written(prepare_beir, beir, tmp_path):
    with pytest.raises(GenirError, match="no split 'test2'"):
        prepare_beir("search.splits=[test2]")
    assert not (tmp_path / "runs").exists()
    (beir / "qrels" / "train.tsv").rename(beir / "qrels" / "learn.tsv")
    assert len(prepare_beir("collection.splits={train: learn}").queries("train")) == 12


def test_a_collection_without_train_keeps_its_own_dev_and_a_note_says_what_follows(prepare_beir, beir, capsys):
    judged = prepare_beir().judgments("dev")
    (beir / "qrels" / "train.tsv").unlink()
    capsys.readouterr()
    data = prepare_beir("name=other")
    assert data.splits == ["dev", "test"]
    assert data.judgments("dev") == judged
    assert data.judgments("train") == data.queries("train") == []
    assert not data.has_train_queries
    notes = " ".join(capsys.readouterr().out.split())
    assert "there is no split train, so pseudo queries take the place of train queries" in notes
    assert "no split dev" not in notes
    assert "pseudo_queries" not in json.loads((data.folder / "card.json").read_text())["splits"]["dev"]


def test_a_collection_with_test_queries_only_gets_a_dev_split_of_pseudo_queries(prepare_beir, beir, capsys):
    tested = prepare_beir().judgments("test")
    (beir / "qrels" / "train.tsv").unlink()
    (beir / "qrels" / "dev.tsv").unlink()
    data = prepare_beir("name=other", "search.splits=[dev, test]")
    assert data.splits == ["dev", "test"]
    assert data.judgments("test") == tested
    assert [(row.query_id, row.doc_id) for row in data.judgments("dev")] == [
        (f"pseudo-d{i}", f"d{i}") for i in range(12)
    ]
    entry = json.loads((data.folder / "card.json").read_text())["splits"]["dev"]
    assert (entry["queries"], entry["pseudo_queries"]) == (12, True)
    notes = " ".join(capsys.readouterr().out.split())
    assert "there is no split dev either, so dev consists of 12 pseudo queries" in notes
    second = prepare_beir("name=again")
    for name in ("queries.jsonl", "qrels/dev.tsv"):
        assert (second.folder / name).read_bytes() == (data.folder / name).read_bytes()


def test_documents_without_words_cannot_make_a_dev_split(prepare_beir, tmp_path):
    folder = write_beir(
        tmp_path / "empty", [{"_id": "d", "text": "?"}], [{"_id": "q", "text": "x"}], {"test": [("q", "d", 1)]}
    )
    with pytest.raises(GenirError, match="no split 'dev' or 'train', and no document with words to make one from"):
        prepare_beir(f"collection.path={folder}")


def test_train_and_dev_need_a_relevant_document_and_test_does_not(prepare_beir, beir):
    for split in ("train", "dev"):
        path = beir / "qrels" / f"{split}.tsv"
        judged = path.read_text()
        path.write_text(re.sub(r"\t\d$", "\t0", judged, flags=re.M))
        with pytest.raises(GenirError, match=f"the split '{split}' needs a relevant document"):
            prepare_beir()
        path.write_text(judged)
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0-test\td0\t0\nq0-test\td1\t0\n")
    assert [judgment.grade for judgment in prepare_beir().judgments("test")] == [0, 0]


def test_the_dev_split_that_will_be_carved_can_be_searched(prepare_beir, beir):
    (beir / "qrels" / "dev.tsv").unlink()
    (beir / "qrels" / "test.tsv").unlink()
    with pytest.raises(GenirError, match=r"no split 'test', .* there are: train, dev \(carved from train\)"):
        prepare_beir("collection.dev_fraction=0.4")
    assert prepare_beir("search.splits=[dev]", "collection.dev_fraction=0.4").splits == ["dev", "train"]


def test_a_missing_collection_is_reported_with_the_setting_that_names_it(prepare_beir):
    with pytest.raises(GenirError, match=r"collection\.path nowhere: no such folder \(in /"):
        prepare_beir("collection.path=nowhere")


def test_a_file_in_the_place_of_the_run_folder_is_reported(prepare_beir, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GenirError, match="file"):
        prepare_beir(f"runs_dir={tmp_path / 'file'}")


def test_the_splits_of_a_published_collection_cannot_be_renamed(prepare):
    with pytest.raises(GenirError, match=r"collection\.splits: nq320k has fixed splits \(train, test\)"):
        prepare("nq320k", "collection.splits={dev: test}")


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def test_download_fetches_the_missing_raw_files_and_prepares_them(prepare, tmp_path, monkeypatch):
    handler = partial(QuietHandler, directory=str(write_raw(tmp_path / "served", DOCUMENT_FILES)))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=partial(server.serve_forever, 0.01)).start()
    address = f"http://127.0.0.1:{server.server_port}"
    sources = {name: RawFile(name, f"{address}/{name}") for name in DOCUMENT_FILES}
    groups = {"msmarco-doc": RawFileGroup("msmarco-doc", "terms", sources)}
    monkeypatch.setattr(prepare_collection, "load_sources", lambda: groups)
    with pytest.raises(GenirError, match=r"missing msmarco-docs\.tsv\.gz"):
        prepare("msmarco-doc-top300k")
    try:
        prepare_collection.command(str(tmp_path / "c.yaml"), [], download=True)
        prepare_collection.command(str(tmp_path / "c.yaml"), [], download=True)
    finally:
        server.shutdown()
        server.server_close()
    assert sorted(os.listdir(tmp_path / "raw")) == sorted(
        name for name in DOCUMENT_FILES if "2019" not in name and "2020" not in name
    )
    documents = PreparedCollection(tmp_path / "runs" / "c" / "collection").documents
    assert documents[1] == Document("D2", "", "no title", "http://b.org/y")


def test_download_without_a_published_collection_is_an_error(beir, tmp_path):
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")
    with pytest.raises(GenirError, match=r"name the collection with collection\.published=NAME"):
        prepare_collection.command(str(tmp_path / "c.yaml"), [], download=True)


def test_queries_of_other_splits_that_are_also_in_train_are_counted_in_a_note(prepare_beir, beir, capsys):
    path = beir / "queries.jsonl"
    path.write_text(
        path.read_text().replace("keyword1 test", "keyword1 train").replace("keyword2 dev", "keyword2 train")
    )
    prepare_beir()
    notes = " ".join(capsys.readouterr().out.split())
    for split in ("dev", "test"):
        assert f"1 of the 12 different queries of {split} are also in train" in notes
        assert "so are 2 of its 24 judgments of relevant documents" in notes


def test_documents_with_the_id_of_the_query_are_ignored_only_if_none_is_relevant(prepare_beir, tmp_path):
    assert not prepare_beir().ignores_identical_ids
    folder = beir_of_own_queries(tmp_path / "own")
    overrides = [f"collection.path={folder}", "collection.ignore_identical_ids=true"]
    data = prepare_beir(*overrides)
    assert data.is_ignored("d1", "d1")
    assert not data.is_ignored("d1", "d2")
    with open(folder / "qrels" / "test.tsv", "a") as handle:
        handle.write("d8\td8\t1\n")
    with pytest.raises(GenirError, match="'test' has 1 relevant documents with the id of their query, such as 'd8'"):
        prepare_beir(*overrides, "name=other")
    assert not prepare_beir(overrides[0], "name=other").is_ignored("d8", "d8")

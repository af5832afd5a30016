import os
import re

import pytest

from genir.collection.prepared import DocumentFile, PreparedCollection
from genir.config import load_config
from genir.errors import GenirError
from genir.records import Judgment, Query
from indexing.prepare_collection import main


@pytest.fixture
def prepare(beir, tmp_path):
    (tmp_path / "c.yaml").write_text(f"collection: {{path: {beir}}}\nruns_dir: {tmp_path / 'runs'}\n")

    def run(*overrides):
        config = load_config(tmp_path / "c.yaml", overrides)
        main(config)
        return PreparedCollection(config.run_folder / "collection")

    return run


def test_what_is_prepared_is_the_collection(prepare):
    data = prepare()
    assert [d.id for d in data.documents] == [f"d{i}" for i in range(12)]
    assert data.documents[5].url == "/x/5"
    assert data.documents[2:4] == [data.documents[2], data.documents[3]]
    assert data.documents[-1] == list(data.documents)[-1]
    assert data.judgments("dev")[:2] == [Judgment("q0-dev", "d0", 2), Judgment("q0-dev", "d4", 1)]
    assert data.queries("test")[0] == Query("q0-test", "where do owls hunt mice with keyword0 test")
    assert len(data.queries("train")) == 12
    with pytest.raises(IndexError):
        data.documents[12]


def test_a_dev_split_is_carved_from_train_by_query_and_always_the_same(prepare, beir):
    (beir / "qrels" / "dev.tsv").unlink()
    first, second = (prepare("collection.dev_fraction=0.4") for _ in range(2))
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
        ("qrels/test.tsv", "nobody\td0\t1", "test.tsv:26: query 'nobody' is not among the queries"),
        ("qrels/test.tsv", "q0-test\td0\t1", "test.tsv:26: query 'q0-test' and document 'd0' are judged twice"),
        ("qrels/test.tsv", "q0-test\td1\t31", "test.tsv:26: the grade 31 is out of range: .* grades go up to 30"),
        ("qrels/train.tsv", "q0-train\td1\t-100000000000000000000", "train.tsv:26: the grade -1000.* is out of range"),
        ("corpus.jsonl", "{", "corpus.jsonl:13: not valid JSON"),
    ],
)
def test_a_mistake_is_named_and_nothing_is_left_behind(prepare, beir, tmp_path, name, line, words):
    with open(beir / name, "a") as handle:
        handle.write(line + "\n")
    with pytest.raises(GenirError, match=words):
        prepare()
    assert os.listdir(tmp_path / "runs" / "c") == []


def test_a_missing_or_empty_split_is_named_before_anything_is_read(prepare, beir, tmp_path):
    with pytest.raises(GenirError, match="no split 'test2'"):
        prepare("search.splits=[test2]")
    assert not (tmp_path / "runs").exists()
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n")
    with pytest.raises(GenirError, match="'test' has no judgments"):
        prepare()


def test_a_split_to_learn_from_or_choose_by_needs_a_relevant_document(prepare, beir):
    for split in ("train", "dev"):
        path = beir / "qrels" / f"{split}.tsv"
        judged = path.read_text()
        path.write_text(re.sub(r"\t\d$", "\t0", judged, flags=re.M))
        with pytest.raises(GenirError, match=f"the split '{split}' needs a relevant document"):
            prepare()
        path.write_text(judged)
    (beir / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq0-test\td0\t30\nq0-test\td1\t0\n")
    assert [row.grade for row in prepare().judgments("test")] == [30, 0]


def test_the_split_that_will_be_carved_can_be_searched(prepare, beir):
    (beir / "qrels" / "dev.tsv").unlink()
    assert prepare("search.splits=[dev, test]", "collection.dev_fraction=0.4").queries("dev")
    (beir / "qrels" / "test.tsv").unlink()
    with pytest.raises(
        GenirError, match=r"no split 'test', .* there are: train, dev \(a share of train\).* search\.splits=\[dev\]"
    ):
        prepare("collection.dev_fraction=0.4")
    assert prepare("search.splits=[dev]", "collection.dev_fraction=0.4").splits == ["dev", "train"]


def test_a_collection_that_is_elsewhere_is_named_by_its_key(prepare):
    with pytest.raises(GenirError, match=r"collection\.path nowhere: no such folder from /"):
        prepare("collection.path=nowhere")


def test_too_few_queries_for_a_dev_split_say_so(prepare, beir):
    (beir / "qrels" / "dev.tsv").unlink()
    (beir / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\nq0-train\td0\t1\n")
    with pytest.raises(GenirError, match="too few train queries"):
        prepare()


def test_a_document_file_is_read_without_its_stage_only_with_a_clear_error(tmp_path):
    with pytest.raises(GenirError, match="run the prepare stage first"):
        DocumentFile(tmp_path / "corpus.jsonl")


def test_an_unwritable_place_is_named(prepare, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GenirError, match="a file stands where a folder is needed"):
        prepare(f"runs_dir={tmp_path / 'file'}")

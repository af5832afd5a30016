import gzip
import json

import ir_datasets
import pytest

from genir.collection import open_collection
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from tests.helpers.beir import write_beir


def test_a_beir_folder_reads_the_same_plain_and_compressed(beir):
    plain = open_collection(beir)
    documents, queries = list(plain.documents()), list(plain.queries())
    judgments = [judgment for _, judgment in plain.judgments("test")]
    assert documents[1] == Document(
        "d1", "About tea leaves wither", "tea leaves wither in place number1 while the keyword1 grows", "/x/1"
    )
    assert queries[0] == Query("q0-train", "where do owls hunt mice with keyword0 train")
    assert judgments[:2] == [Judgment("q0-test", "d0", 2), Judgment("q0-test", "d4", 1)]
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        (beir / f"{name}.gz").write_bytes(gzip.compress((beir / name).read_bytes()))
        (beir / name).unlink()
    packed = open_collection(beir)
    assert (list(packed.documents()), list(packed.queries())) == (documents, queries)
    assert packed.splits == ["dev", "test", "train"]
    assert [judgment for _, judgment in packed.judgments("test")] == judgments
    assert open_collection(beir, {"validation": "test"}).splits == ["dev", "train", "validation"]
    (beir / "qrels" / "test.tsv").write_text("")
    with pytest.raises(GenirError, match=r"needs test\.tsv or test\.tsv\.gz: both are there; keep one"):
        open_collection(beir)


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("corpus.jsonl", '{"_id": "d12", "text": ', "corpus.jsonl:13: not valid JSON"),
        (
            "corpus.jsonl",
            '{"_id": "d12", "x": ' + "7" * 5000 + "}",
            "corpus.jsonl:13: JSON that cannot be read: Exceeds",
        ),
        ("corpus.jsonl", "[" * 200_000, "corpus.jsonl:13: JSON that cannot be read: maximum recursion depth"),
        ("corpus.jsonl", '["d12"]', "corpus.jsonl:13: a JSON object"),
        ("corpus.jsonl", '{"_id": "d3", "text": "x"}', "corpus.jsonl:13: duplicate _id 'd3'"),
        ("corpus.jsonl", '{"_id": "", "text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"_id": "a b", "text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"_id": 7, "text": "x"}', "corpus.jsonl:13: _id must be a string"),
        ("corpus.jsonl", '{"_id": "d12"}', "corpus.jsonl:13: text is missing"),
        ("corpus.jsonl", '{"_id": "d12", "text": null}', "corpus.jsonl:13: text must be a string, not None"),
        ("corpus.jsonl", '{"_id": "d12", "text": "\\ud800"}', "corpus.jsonl:13: text holds half"),
        ("queries.jsonl", '{"_id": "q0-dev", "text": "x"}', "queries.jsonl:37: duplicate _id"),
        ("queries.jsonl", '{"_id": "q", "text": "  "}', "queries.jsonl:37: the query is empty"),
        ("qrels/test.tsv", "q0-test\td0", "test.tsv:26: 2 columns"),
        ("qrels/test.tsv", "q0-test\td0\tgood", "test.tsv:26: the score 'good'"),
    ],
)
def test_a_bad_line_is_named(beir, name, line, words):
    with open(beir / name, "a") as handle:
        handle.write(line + "\n")
    collection = open_collection(beir)
    with pytest.raises(GenirError) as error:
        list(collection.documents()), list(collection.queries()), list(collection.judgments("test"))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_qrels_need_their_header(beir):
    (beir / "qrels" / "test.tsv").write_text("q0-test\td0\t1\n")
    with pytest.raises(GenirError, match=r"test\.tsv:1: the header"):
        list(open_collection(beir).judgments("test"))


def test_what_is_missing_is_named(beir, tmp_path):
    with pytest.raises(GenirError, match="no split 'validation'; there are: dev, test, train"):
        list(open_collection(beir).judgments("validation"))
    with pytest.raises(GenirError, match="no such folder"):
        open_collection(tmp_path / "nowhere")
    (beir / "corpus.jsonl").write_text("")
    with pytest.raises(GenirError, match="no document"):
        list(open_collection(beir).documents())
    (beir / "corpus.jsonl").unlink()
    with pytest.raises(GenirError, match=r"needs corpus\.jsonl or corpus\.jsonl\.gz"):
        open_collection(beir)


def test_splits_can_be_renamed(beir):
    collection = open_collection(beir, {"validation": "dev"})
    assert collection.splits == ["test", "train", "validation"]
    assert len(list(collection.judgments("validation"))) == 24
    with pytest.raises(GenirError, match=r"no qrels/x\.tsv"):
        open_collection(beir, {"dev": "x"})


@pytest.fixture
def catalogue(tmp_path):
    """A dataset of ir_datasets' own classes with two splits, registered under an id of its catalogue."""
    (tmp_path / "docs.tsv").write_text("d1\towls hunt\nd2\ttea grows\n")
    for split in ("train", "test"):
        (tmp_path / f"{split}.tsv").write_text(f"q-{split}\twhat do owls {split}\n")
        (tmp_path / f"{split}.qrels").write_text(f"q-{split} 0 d1 1\n")
    docs = str(tmp_path / "docs.tsv")
    registry = ir_datasets.registry
    registry.register("genir-test", ir_datasets.create_dataset(docs_tsv=docs))
    for split in ("train", "test"):
        part = ir_datasets.create_dataset(
            docs_tsv=docs, queries_tsv=str(tmp_path / f"{split}.tsv"), qrels_trec=str(tmp_path / f"{split}.qrels")
        )
        registry.register(f"genir-test/{split}", part)
    yield "irds:genir-test"
    for name in ("genir-test", "genir-test/train", "genir-test/test"):
        del registry._registered[name]


def test_an_ir_datasets_id_reads_like_a_folder(catalogue):
    collection = open_collection(catalogue)
    assert list(collection.documents()) == [Document("d1", "", "owls hunt"), Document("d2", "", "tea grows")]
    assert list(collection.queries()) == [Query("q-train", "what do owls train"), Query("q-test", "what do owls test")]
    assert [judgment for _, judgment in collection.judgments("test")] == [Judgment("q-test", "d1", 1)]
    assert collection.splits == ["train", "test"]
    assert open_collection(catalogue, {"dev": "test"}).splits == ["dev"]
    with pytest.raises(GenirError, match="no id genir-test/x"):
        open_collection(catalogue, {"dev": "x"})
    with pytest.raises(GenirError, match="knows no such id"):
        open_collection("irds:there/is/no/such")


def test_a_catalogue_entry_of_the_real_ir_datasets_has_its_splits():
    assert open_collection("irds:beir/nfcorpus").splits == ["train", "dev", "test"]


def test_unicode_and_empty_titles_survive(tmp_path):
    rows = [{"_id": "ü1", "title": "", "text": "日本語 ناص"}, {"_id": "d2", "text": "", "metadata": {"x": 1}}]
    folder = write_beir(tmp_path, rows, [], {"test": []})
    assert list(open_collection(folder).documents()) == [Document("ü1", "", "日本語 ناص"), Document("d2", "", "")]
    assert json.loads((folder / "corpus.jsonl").read_text().splitlines()[0])["text"] == "日本語 ناص"

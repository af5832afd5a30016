import gzip
import json

import pytest

from genir.collection.beir import BeirCollection, read_documents
from genir.errors import GenirError
from genir.records import Document, Judgment, Query
from tests.helpers.beir import write_beir


def test_documents_queries_and_judgments_of_a_folder_are_read(beir):
    collection = BeirCollection(beir, {})
    documents, queries = list(collection.documents()), list(collection.queries())
    assert (len(documents), len(queries)) == (12, 36)
    assert documents[1] == Document(
        "d1", "About tea leaves wither", "tea leaves wither in place number1 while the keyword1 grows", "/x/1"
    )
    assert queries[0] == Query("q0-train", "where do owls hunt mice with keyword0 train")
    assert collection.splits == ["dev", "test", "train"]
    judgments = [judgment for _, judgment in collection.judgments("test")]
    assert judgments[:2] == [Judgment("q0-test", "d0", 2), Judgment("q0-test", "d4", 1)]
    assert next(collection.judgments("test"))[0] == f"{beir}/qrels/test.tsv:2"


def test_gzip_files_read_the_same_as_plain_ones(beir):
    plain = BeirCollection(beir, {})
    documents, queries, judgments = (
        list(x) for x in (plain.documents(), plain.queries(), (judgment for _, judgment in plain.judgments("test")))
    )
    for name in ("corpus.jsonl", "queries.jsonl", "qrels/train.tsv", "qrels/test.tsv"):
        (beir / f"{name}.gz").write_bytes(gzip.compress((beir / name).read_bytes()))
        (beir / name).unlink()
    packed = BeirCollection(beir, {})
    assert (list(packed.documents()), list(packed.queries())) == (documents, queries)
    assert packed.splits == ["dev", "test", "train"]
    assert [judgment for _, judgment in packed.judgments("test")] == judgments


def test_a_file_that_exists_plain_and_as_gzip_is_an_error(beir):
    (beir / "qrels" / "test.tsv.gz").write_bytes(gzip.compress(b""))
    with pytest.raises(GenirError, match=r"both test\.tsv and test\.tsv\.gz exist; keep one"):
        BeirCollection(beir, {})


def test_files_of_judgments_that_are_not_read_are_named(beir, capsys):
    (beir / "qrels" / "extra.qrels").write_text("")
    assert BeirCollection(beir, {}).splits == ["dev", "test", "train"]
    printed = " ".join(capsys.readouterr().out.split())
    assert "not read, since their names do not end with .tsv or .tsv.gz: extra.qrels" in printed


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("corpus.jsonl", '{"_id": "d12", "text": ', "corpus.jsonl:13: not valid JSON"),
        ("corpus.jsonl", '{"_id": "d12", "x": ' + "7" * 5000 + "}", "corpus.jsonl:13: "),
        ("corpus.jsonl", "[" * 200_000, "corpus.jsonl:13: "),
        ("corpus.jsonl", '["d12"]', "corpus.jsonl:13: each line must be a JSON object"),
        ("corpus.jsonl", '{"_id": "d3", "text": "x"}', "corpus.jsonl:13: duplicate _id 'd3'"),
        ("corpus.jsonl", '{"_id": "", "text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"_id": "a b", "text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"_id": 7, "text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"text": "x"}', "corpus.jsonl:13: _id must be"),
        ("corpus.jsonl", '{"_id": "d12"}', "corpus.jsonl:13: text is missing"),
        ("corpus.jsonl", '{"_id": "d12", "text": null}', "corpus.jsonl:13: text must be a string, got None"),
        (
            "corpus.jsonl",
            '{"_id": "d12", "text": "\\ud800"}',
            "corpus.jsonl:13: text contains an unpaired surrogate",
        ),
        ("queries.jsonl", '{"_id": "q0-dev", "text": "x"}', "queries.jsonl:37: duplicate _id"),
        ("queries.jsonl", '{"_id": "q", "text": "  "}', "queries.jsonl:37: the query is empty"),
        (
            "qrels/test.tsv",
            "q0-test\td0",
            "test.tsv:26: a line must be query-id, corpus-id, score, separated by tabs; found 2 columns",
        ),
        ("qrels/test.tsv", "q0-test\td0\tgood", "test.tsv:26: the score 'good' is not a whole number"),
        ("qrels/test.tsv", "q0-test\td0\t1_0", "test.tsv:26: the score '1_0' is not a whole number"),
        ("qrels/test.tsv", "q0-test\td0\t\u0661", "test.tsv:26: the score '\u0661' is not a whole number"),
        (
            "corpus.jsonl",
            '{"_id": "d12", "text": "x", "_id": "d13"}',
            "corpus.jsonl:13: not valid JSON: the key '_id' is given twice",
        ),
        (
            "corpus.jsonl",
            '{"_id": "d12", "text": "x", "y": NaN}',
            "corpus.jsonl:13: not valid JSON: NaN is not a number",
        ),
    ],
)
def test_a_malformed_line_is_reported_in_one_line_with_file_and_line_number(beir, name, line, words):
    with open(beir / name, "a") as handle:
        handle.write(line + "\n")
    collection = BeirCollection(beir, {})
    with pytest.raises(GenirError) as error:
        list(collection.documents()), list(collection.queries()), list(collection.judgments("test"))
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_qrels_without_a_header_are_an_error(beir):
    (beir / "qrels" / "test.tsv").write_text("q0-test\td0\t1\n")
    with pytest.raises(GenirError, match=r"test\.tsv:1: the header must be"):
        list(BeirCollection(beir, {}).judgments("test"))


def test_a_missing_folder_file_or_split_is_reported(beir, tmp_path):
    with pytest.raises(GenirError, match="no split 'validation'; there are: dev, test, train"):
        list(BeirCollection(beir, {}).judgments("validation"))
    with pytest.raises(GenirError, match="no such folder"):
        BeirCollection(tmp_path / "nowhere", {})
    (beir / "corpus.jsonl").unlink()
    with pytest.raises(GenirError, match=r"has neither corpus\.jsonl nor corpus\.jsonl\.gz"):
        BeirCollection(beir, {})


def test_a_corpus_without_documents_is_an_error(beir):
    (beir / "corpus.jsonl").write_text("\n")
    with pytest.raises(GenirError, match=r"corpus\.jsonl: this file contains no documents"):
        list(read_documents(beir / "corpus.jsonl"))


def test_splits_can_be_renamed(beir):
    collection = BeirCollection(beir, {"validation": "dev"})
    assert collection.splits == ["test", "train", "validation"]
    assert len(list(collection.judgments("validation"))) == 24
    with pytest.raises(GenirError, match=r"there is no qrels/x\.tsv, which collection\.splits\.dev names"):
        BeirCollection(beir, {"dev": "x"})


def test_unicode_and_empty_fields_are_kept_and_other_keys_are_ignored(tmp_path):
    rows = [{"_id": "ü1", "title": "", "text": "日本語 ناص"}, {"_id": "d2", "text": "", "metadata": {"x": 1}}]
    folder = write_beir(tmp_path, rows, [], {"test": []})
    assert json.loads((folder / "corpus.jsonl").read_text().splitlines()[0])["text"] == "日本語 ناص"
    assert list(read_documents(folder / "corpus.jsonl")) == [Document("ü1", "", "日本語 ناص"), Document("d2", "", "")]


def test_files_in_qrels_that_cannot_be_those_of_a_split_are_not_read_and_named_unless_they_are_hidden(beir, capsys):
    for name in ("._test.tsv", ".hidden.tsv", "test (copy).tsv", "test~.tsv.gz"):
        (beir / "qrels" / name).write_bytes(b"\0\5\x16\7")
    assert BeirCollection(beir, {}).splits == ["dev", "test", "train"]
    note = " ".join(capsys.readouterr().out.split())
    assert "not read: test (copy).tsv, test~.tsv; the name of a split has only letters, digits" in note
    assert "hidden" not in note

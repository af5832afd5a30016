"""Collections in the hub's layout, written by other libraries: pyarrow, `datasets`, and plain JSONL."""

import gzip
import json

import pytest
from huggingface_hub import constants

from genir.collection import BeirCollection, open_collection
from genir.collection.hf_datasets import HfDatasetsCollection
from genir.config import load_config
from genir.errors import GenirError
from genir.pipeline.staleness import wanted_state
from genir.records import Judgment
from indexing import prepare_collection
from tests.helpers.beir import left_behind
from tests.helpers.hub import serve_status

pytest.importorskip("datasets", reason="needs the extra datasets")

JUDGED = ["query-id", "corpus-id", "score"]


def contents(collection):
    """Everything in a collection, with its judgments by split."""
    judged = {split: [judgment for _, judgment in collection.judgments(split)] for split in sorted(collection.splits)}
    return list(collection.documents()), list(collection.queries()), judged


def columns(rows):
    return {name: [row.get(name, "") for row in rows] for name in rows[0]}


@pytest.fixture
def tables(beir):
    """The rows of the small BEIR collection: corpus, queries, and the qrels by split."""
    read = {
        name: [json.loads(line) for line in (beir / f"{name}.jsonl").read_text().splitlines()]
        for name in ("corpus", "queries")
    }
    qrels = {
        split: [dict(zip(JUDGED, judgment, strict=True)) for _, judgment in BeirCollection(beir, {}).judgments(split)]
        for split in ("train", "dev", "test")
    }
    return read["corpus"], read["queries"], qrels


def write_parquet(folder, tables):
    """BEIR's layout on the hub, with the corpus in two files."""
    import pyarrow
    import pyarrow.parquet

    corpus, queries, qrels = tables
    parts = {"corpus/corpus-00000-of-00002": corpus[:7], "corpus/corpus-00001-of-00002": corpus[7:]}
    parts |= {"queries/queries-00000-of-00001": queries}
    parts |= {f"qrels/{split}-00000-of-00001": rows for split, rows in qrels.items()}
    for name, rows in parts.items():
        path = folder / f"{name}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pyarrow.parquet.write_table(pyarrow.table(columns(rows)), path)


def write_arrow(folder, tables):
    from datasets import Dataset, DatasetDict

    corpus, queries, qrels = tables
    Dataset.from_dict(columns(corpus)).save_to_disk(folder / "corpus")
    Dataset.from_dict(columns(queries)).save_to_disk(folder / "queries")
    DatasetDict({split: Dataset.from_dict(columns(rows)) for split, rows in qrels.items()}).save_to_disk(
        folder / "default"
    )


def write_jsonl(folder, tables):
    """MTEB's layout."""
    corpus, queries, qrels = tables
    (folder / "qrels").mkdir(parents=True)
    (folder / "README.md").write_text("a card")
    for name, rows in {"corpus": corpus, "queries": queries}.items():
        (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    for split, rows in qrels.items():
        rows = [row | {"score": float(row["score"])} for row in rows]
        text = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
        (folder / "qrels" / f"{split}.jsonl.gz").write_bytes(gzip.compress(text))


@pytest.mark.parametrize("write", [write_parquet, write_arrow, write_jsonl])
def test_a_folder_in_the_hubs_layout_has_the_same_contents_as_the_beir_folder(beir, tables, tmp_path, write, capsys):
    write(tmp_path / "hub", tables)
    found = open_collection(f"hf:{tmp_path / 'hub'}")
    assert contents(found) == contents(BeirCollection(beir, {}))
    assert contents(found) == contents(BeirCollection(beir, {}))  # a second time
    assert "not read" not in capsys.readouterr().out


def test_a_text_that_looks_like_a_date_stays_a_text(tables, tmp_path):
    corpus, queries, qrels = tables
    dates = [row | {"text": "2020-01-01T00:00:00"} for row in corpus]
    for write in (write_parquet, write_jsonl):
        folder = tmp_path / write.__name__
        write(folder, (dates, queries, qrels))
        assert {document.text for document in HfDatasetsCollection(str(folder), {}).documents()} == {
            "2020-01-01T00:00:00"
        }


def test_ids_of_digits_that_became_numbers_and_qrels_without_scores_are_read(tables, tmp_path):
    """The first is what `datasets` makes of BEIR's qrels, the second is NanoBEIR's layout."""
    corpus, queries, _ = tables
    corpus = [{"id": number, "text": row["text"]} for number, row in enumerate(corpus)]
    write_parquet(tmp_path / "hub", (corpus, queries, {"train": [{"query-id": 7, "corpus-id": 3}]}))
    collection = HfDatasetsCollection(str(tmp_path / "hub"), {"test": "train"})
    assert [document.id for document in collection.documents()] == [str(number) for number in range(12)]
    assert contents(collection)[2] == {"test": [Judgment("7", "3", 1)]}


def test_validation_is_called_dev_and_splits_can_be_renamed(tables, tmp_path):
    corpus, queries, qrels = tables
    write_arrow(tmp_path / "hub", (corpus, queries, {"validation": qrels["dev"], "dl19": qrels["test"]}))
    source = str(tmp_path / "hub")
    assert sorted(HfDatasetsCollection(source, {}).splits) == ["dev", "dl19"]
    assert sorted(HfDatasetsCollection(source, {"test": "dl19"}).splits) == ["dev", "test"]
    assert sorted(HfDatasetsCollection(source, {"dev": "dl19"}).splits) == ["dev", "validation"]
    assert HfDatasetsCollection(source, {"dev": "validation"}).splits == ["dl19", "dev"]
    with pytest.raises(
        GenirError, match=r"no split x, which collection\.splits\.test names; there are: validation, dl"
    ):
        HfDatasetsCollection(source, {"test": "x"})


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        (
            404,
            "RepoNotFound",
            r"and not on the hub: there is no such repository, or a private one; `hf auth",
        ),
        (403, "", r"and not on the hub: .*403.*; log in with `hf auth login`"),
        (429, "", r"and the hub cannot be reached: .*429"),
        (503, "", r"and the hub cannot be reached: .*503"),
    ],
)
def test_an_error_of_the_hub_is_one_line(status, code, words, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve_status(status, code) as address:
        monkeypatch.setattr(constants, "ENDPOINT", address)
        with pytest.raises(GenirError, match=rf"hf:alice/owls: no such folder \(in .*\), {words}") as error:
            HfDatasetsCollection("alice/owls", {})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["a--b/c", "ab/c."])
def test_what_cannot_be_a_name_on_the_hub_is_said(name):
    with pytest.raises(GenirError, match=rf"hf:{name}: no such folder \(in .*\), and not on the hub: "):
        HfDatasetsCollection(name, {})


def test_what_is_missing_is_named(tables, tmp_path):
    folder = tmp_path / "hub"
    write_jsonl(folder, tables)
    with pytest.raises(GenirError, match="none: no such folder"):
        HfDatasetsCollection(f"{folder}/none", {})
    with pytest.raises(
        GenirError,
        match=r"hf:mteb/scifact: no such folder .*, and the hub cannot be reached: .*offline mode",
    ) as error:
        HfDatasetsCollection("mteb/scifact", {})
    assert "\n" not in str(error.value)
    (folder / "qrels").rename(folder / "judged")
    with pytest.raises(GenirError, match=r"hub: has no qrels; there must be a folder qrels/"):
        HfDatasetsCollection(str(folder), {})
    (folder / "queries.jsonl").rename(folder / "asked.jsonl")
    with pytest.raises(GenirError, match=r"hub: has no queries; there must be a folder queries/ with files"):
        HfDatasetsCollection(str(folder), {})


@pytest.mark.parametrize("other", ["corpus.jsonl.gz", "corpus.parquet"])
def test_two_files_of_one_split_are_an_error(tables, tmp_path, other):
    folder = tmp_path / "hub"
    write_jsonl(folder, tables)
    (folder / other).write_bytes(gzip.compress(b'{"_id": "another", "text": "x"}\n'))
    with pytest.raises(GenirError, match=rf"hub: both corpus\.jsonl and {other} exist; keep one"):
        HfDatasetsCollection(str(folder), {})


def test_missing_shards_are_named(tables, tmp_path):
    folder = tmp_path / "hub"
    write_jsonl(folder, tables)
    text = (folder / "corpus.jsonl").read_text()
    (folder / "corpus").mkdir()
    (folder / "corpus.jsonl").rename(folder / "corpus" / "train-00001-of-00003.jsonl")
    with pytest.raises(
        GenirError,
        match=r"train-00001-of-00003\.jsonl: one of 3 files; missing: train-00000-of-00003\.jsonl, "
        r"train-00002-of-00003\.jsonl; copy them too",
    ):
        HfDatasetsCollection(str(folder), {})
    for number in (0, 2):
        (folder / "corpus" / f"train-0000{number}-of-00003.jsonl").write_text("")
    assert len(list(HfDatasetsCollection(str(folder), {}).documents())) == text.count("\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"score": 0.5}, "train-00000-of-00001.parquet:1: the score 0.5 is not a whole number"),
        ({"corpus-id": None}, r"train-00000-of-00001.parquet:1: query-id and corpus-id must be strings"),
    ],
)
def test_a_wrong_judgment_is_reported_with_its_row(tables, tmp_path, change, words):
    corpus, queries, qrels = tables
    write_parquet(tmp_path / "hub", (corpus, queries, {"train": [qrels["train"][0] | change]}))
    collection = HfDatasetsCollection(str(tmp_path / "hub"), {})
    with pytest.raises(GenirError, match=words):
        list(collection.judgments("train"))


def test_other_columns_and_damaged_files_are_reported(tables, tmp_path):
    corpus, queries, _ = tables
    judged = [{"query-id": "q0-test", "corpus-id": "d0", "relevance": 1}]
    write_parquet(tmp_path / "hub", (corpus, [row | {"text": " "} for row in queries], {"test": judged}))
    collection = HfDatasetsCollection(str(tmp_path / "hub"), {})
    with pytest.raises(GenirError, match="the qrels have no column score; there are: query-id, corpus-id, relevance"):
        list(collection.judgments("test"))
    with pytest.raises(GenirError, match=r"parquet:1: the query is empty"):
        list(collection.queries())
    (tmp_path / "hub" / "corpus" / "corpus-00001-of-00002.parquet").write_bytes(b"PAR1")
    with pytest.raises(GenirError, match=r"corpus-00001-of-00002\.parquet: damaged, or not in the format of its name"):
        list(collection.documents())


def test_prepare_reads_the_folder_and_runs_again_when_a_file_changes(tables, tmp_path):
    write_parquet(tmp_path / "hub", tables)
    (tmp_path / "c.yaml").write_text(f"collection: {{path: 'hf:{tmp_path / 'hub'}'}}\nruns_dir: {tmp_path / 'runs'}\n")
    config = load_config(tmp_path / "c.yaml")
    prepare_collection.main(config)
    assert (config.run_folder / "collection" / "qrels" / "test.tsv").read_text().count("\n") == 25

    def inputs():
        return wanted_state(config, [], [], ["collection.path"], {})["inputs"]

    before = inputs()
    assert before.keys() == {"collection.path"}
    (tmp_path / "hub" / "qrels" / "test-00000-of-00001.parquet").unlink()
    assert inputs() != before
    assert left_behind(tmp_path) == ["collection"]


def test_parquet_without_rows_is_empty_and_damaged_parquet_gives_one_error(tables, tmp_path, capfd):
    import pyarrow
    import pyarrow.parquet

    corpus, queries, qrels = tables
    write_parquet(tmp_path / "hub", (corpus, queries, qrels))
    empty = pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in JUDGED})
    pyarrow.parquet.write_table(empty, tmp_path / "hub" / "qrels" / "none.parquet")
    (tmp_path / "hub" / "qrels" / "bad.parquet").write_bytes(b"PAR1" + bytes(50))
    collection = HfDatasetsCollection(str(tmp_path / "hub"), {})
    assert list(collection.judgments("none")) == []
    with pytest.raises(GenirError, match=r"bad\.parquet: damaged, or not in the format of its name"):
        list(collection.judgments("bad"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("name", ["", " "])
def test_an_empty_name_is_not_the_current_folder(name):
    with pytest.raises(GenirError, match="hf: has no name; give hf:OWNER/NAME"):
        open_collection(f"hf:{name}")

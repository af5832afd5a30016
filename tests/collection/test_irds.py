import ir_datasets
import pytest

from genir.collection.irds import IrDatasetsCollection
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


@pytest.fixture
def dataset(tmp_path):
    """A dataset of ir_datasets' own classes with the splits train and test, registered in its catalogue."""
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
    yield "genir-test"
    for name in ("genir-test", "genir-test/train", "genir-test/test"):
        del registry._registered[name]


def test_a_dataset_is_read_with_its_splits(dataset):
    collection = IrDatasetsCollection(dataset, {})
    assert list(collection.documents()) == [Document("d1", "", "owls hunt"), Document("d2", "", "tea grows")]
    assert list(collection.queries()) == [Query("q-train", "what do owls train"), Query("q-test", "what do owls test")]
    assert [judgment for _, judgment in collection.judgments("test")] == [Judgment("q-test", "d1", 1)]
    assert collection.splits == ["train", "test"]


def test_a_dataset_with_judgments_but_without_splits_is_the_split_test(dataset):
    collection = IrDatasetsCollection(f"{dataset}/train", {})
    assert collection.splits == ["test"]
    assert [query.id for query in collection.queries()] == ["q-train"]


def test_splits_can_be_renamed_and_missing_ones_are_reported(dataset):
    assert IrDatasetsCollection(dataset, {"dev": "test"}).splits == ["dev"]
    with pytest.raises(
        GenirError, match=r"ir_datasets has no judgments under genir-test/x, which collection\.splits\.dev names"
    ):
        IrDatasetsCollection(dataset, {"dev": "x"})
    with pytest.raises(GenirError, match="no split 'validation'; there are: train, test"):
        list(IrDatasetsCollection(dataset, {}).judgments("validation"))


def test_a_query_with_an_invalid_id_is_reported(dataset, tmp_path):
    (tmp_path / "test.tsv").write_text("q 1\twhat do owls eat\n")
    with pytest.raises(GenirError, match="irds:genir-test:1: query_id must be a non-empty string without white space"):
        list(IrDatasetsCollection(dataset, {}).queries())


def test_an_unknown_id_is_reported():
    with pytest.raises(GenirError, match="irds:there/is/no/such: ir_datasets has no such id"):
        IrDatasetsCollection("there/is/no/such", {})


def test_a_dataset_of_the_real_catalogue_has_its_splits():
    assert IrDatasetsCollection("beir/nfcorpus", {}).splits == ["train", "dev", "test"]
    assert IrDatasetsCollection("antique", {}).splits == ["train", "test"]


def test_the_split_validation_of_the_real_catalogue_is_called_dev():
    assert IrDatasetsCollection("wikir/en1k", {}).splits == ["dev", "test"]

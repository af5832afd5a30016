import pytest

from genir.collection import BeirCollection, IrDatasetsCollection
from genir.collection.opening import open_collection
from genir.errors import GenirError


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_a_path_opens_as_a_beir_folder(beir, as_type):
    collection = open_collection(as_type(beir))
    assert isinstance(collection, BeirCollection)
    assert collection.splits == ["dev", "test", "train"]
    assert open_collection(as_type(beir), {"validation": "test"}).splits == ["dev", "train", "validation"]


def test_irds_and_an_id_open_as_a_dataset_of_the_catalogue():
    collection = open_collection("irds:beir/nfcorpus")
    assert isinstance(collection, IrDatasetsCollection)
    assert collection.name == "irds:beir/nfcorpus"
    assert open_collection("irds:beir/nfcorpus", {"train": "dev"}).splits == ["train"]


def test_a_missing_folder_or_id_is_reported(tmp_path):
    with pytest.raises(GenirError, match=r"nowhere: no such folder; give a BEIR folder or irds:ID"):
        open_collection(tmp_path / "nowhere")
    with pytest.raises(GenirError, match="ir_datasets has no such id"):
        open_collection("irds:no/such")

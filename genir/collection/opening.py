"""Opening a collection by its path: a BEIR folder, an ir_datasets id, or a data set of the Hugging Face hub."""

from collections.abc import Mapping
from pathlib import Path

from genir.collection.base import Collection
from genir.collection.beir import BeirCollection
from genir.collection.hf_datasets import HfDatasetsCollection
from genir.collection.irds import IrDatasetsCollection


def open_collection(path: str | Path, splits: Mapping[str, str] | None = None) -> Collection:
    """Open a BEIR folder, a dataset of ir_datasets (`irds:beir/nfcorpus`) or of the hub (`hf:mteb/nfcorpus`).

    `hf:FOLDER` opens a folder of Parquet, Arrow or JSONL files in the hub's layout.

    splits: name of a split (train, dev, test) -> its name in the folder or dataset, if the two differ. Raises
    GenirError if there is no such folder, dataset or split. An error in a file is raised when the file is read.
    """
    if str(path).startswith("irds:"):
        return IrDatasetsCollection(str(path).removeprefix("irds:"), splits or {})
    if str(path).startswith("hf:"):
        return HfDatasetsCollection(str(path).removeprefix("hf:"), splits or {})
    return BeirCollection(Path(path), splits or {})

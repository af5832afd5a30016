"""Opening a collection by its path, which is a BEIR folder or an ir_datasets id."""

from collections.abc import Mapping
from pathlib import Path

from genir.collection.base import Collection
from genir.collection.beir import BeirCollection
from genir.collection.irds import IrDatasetsCollection


def open_collection(path: str | Path, splits: Mapping[str, str] | None = None) -> Collection:
    """Open a BEIR folder, or a dataset of ir_datasets whose id is written `irds:beir/nfcorpus`.

    splits: name of a split (train, dev, test) -> its name in the folder or dataset, if the two differ. Raises
    GenirError if there is no such folder, dataset or split. An error in a file is raised when the file is read.
    """
    if str(path).startswith("irds:"):
        return IrDatasetsCollection(str(path).removeprefix("irds:"), splits or {})
    return BeirCollection(Path(path), splits or {})

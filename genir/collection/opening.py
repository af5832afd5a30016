"""Collections in: BEIR folders (gz or not) and ir_datasets ids behind one `open_collection`.

Documents, queries and judgments are streamed; what is wrong in a file is one line that names the file and the line.
"""

from collections.abc import Mapping
from pathlib import Path

from genir.collection.base import Collection
from genir.collection.beir import BeirCollection
from genir.collection.irds import IrDatasetsCollection


def open_collection(path: str | Path, splits: Mapping[str, str] | None = None) -> Collection:
    """Open a BEIR folder, or an ir_datasets id written `irds:beir/nfcorpus`.

    `splits` maps our names (train, dev, test) to the source's, where they differ.
    """
    if str(path).startswith("irds:"):
        return IrDatasetsCollection(str(path).removeprefix("irds:"), splits or {})
    return BeirCollection(Path(path), splits or {})

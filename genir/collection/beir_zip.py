"""The data sets of BEIR, read from their published zip files or from the folders that these unpack to."""

import zipfile
from pathlib import Path, PurePosixPath

from genir.collection.beir import BeirCollection, select_splits
from genir.collection.sources import load_sources, require_raw_files
from genir.errors import GenirError


class BeirZip(BeirCollection):
    """The BEIR folder `inner` inside a zip file, read without unpacking it.

    Raises GenirError if the file is damaged or does not contain the folder.
    """

    def __init__(self, archive: Path, inner: str) -> None:
        self.name = f"{archive}/{inner}"
        try:
            with zipfile.ZipFile(archive) as contents:
                names = contents.namelist()
        except zipfile.BadZipFile as error:
            raise GenirError(f"{archive}: damaged or incomplete ({error}); download it again") from None
        for needed in ("corpus.jsonl", "queries.jsonl"):
            if f"{inner}/{needed}" not in names:
                raise GenirError(
                    f"{archive}: this zip file does not contain {inner}/{needed}; is it the one that BEIR publishes?"
                )
        self.corpus, self._queries = archive / inner / "corpus.jsonl", archive / inner / "queries.jsonl"
        qrels = [PurePosixPath(name) for name in names if name.endswith(".tsv")]
        files = {path.name for path in qrels if path.parent == PurePosixPath(inner, "qrels")}
        self._qrels = {
            split: archive / inner / "qrels" / f"{split}.tsv"
            for split in select_splits(files, archive / inner / "qrels")
        }


def open_beir_set(folder: Path, name: str) -> BeirCollection:
    """Open a BEIR data set, such as nfcorpus or cqadupstack/android, from its zip file or unpacked.

    folder: the folder that contains the zip file or the folder that it unpacks to. webis-touche2020/v2 is the version
    that the zip file webis-touche2020 contains. Raises GenirError if the files are missing.
    """
    archive = zip_name(name)
    inner = name.removesuffix("/v2")
    if (folder / inner).is_dir():
        return BeirCollection(folder / inner, {})
    return BeirZip(require_raw_files(folder, [archive], "beir")[0], inner)


def zip_name(name: str) -> str:
    """Return the name of the zip file that contains a data set; raises GenirError if BEIR has no such data set."""
    archive = f"{name.split('/')[0]}.zip"
    known = load_sources()["beir"].files
    if archive not in known:
        sets = ", ".join(file.removesuffix(".zip") for file in known)
        raise GenirError(f"collection.published beir/{name}: BEIR has no such data set; there are: {sets}")
    return archive

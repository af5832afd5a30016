"""BEIR's sets: the published zip of a set, read as it is, or what it unpacks to."""

import zipfile
from pathlib import Path, PurePosixPath

from genir.collection.beir import BeirCollection
from genir.collection.sources import load_sources, require
from genir.errors import GenirError


class BeirZip(BeirCollection):
    """The folder `inner` of a zip."""

    def __init__(self, archive: Path, inner: str) -> None:
        self.name = f"{archive}/{inner}"
        try:
            with zipfile.ZipFile(archive) as contents:
                names = contents.namelist()
        except zipfile.BadZipFile as error:
            raise GenirError(f"{archive}: damaged or cut short ({error}); fetch it again") from None
        for needed in ("corpus.jsonl", "queries.jsonl"):
            if f"{inner}/{needed}" not in names:
                raise GenirError(f"{archive}: there is no {inner}/{needed} in this zip; is it BEIR's?")
        self.corpus, self._queries = archive / inner / "corpus.jsonl", archive / inner / "queries.jsonl"
        tables = [name for name in sorted(names) if name.startswith(f"{inner}/qrels/") and name.endswith(".tsv")]
        self._qrels = {PurePosixPath(name).stem: archive / name for name in tables}


def open_beir(folder: Path, name: str) -> BeirCollection:
    """The set `name` (nfcorpus, cqadupstack/android) of a folder that holds its zip, or the zip's folder.

    webis-touche2020/v2 is what the zip webis-touche2020 holds.
    """
    zipped = zip_name(name)
    inner = name.removesuffix("/v2")
    if (folder / inner).is_dir():
        return BeirCollection(folder / inner, {})
    return BeirZip(require(folder, [zipped], "beir")[0], inner)


def zip_name(name: str) -> str:
    """The zip that holds a set; a name that BEIR does not have raises GenirError."""
    zipped = f"{name.split('/')[0]}.zip"
    known = load_sources()["beir"].files
    if zipped not in known:
        sets = ", ".join(file.removesuffix(".zip") for file in known)
        raise GenirError(f"collection.published beir/{name}: BEIR has no such set; there are: {sets}")
    return zipped

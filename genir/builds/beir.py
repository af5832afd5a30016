"""BEIR's sets: the published zip of a set, or what it unpacks to."""

import zipfile
from pathlib import Path

from genir.collection import BeirCollection
from genir.errors import GenirError
from genir.files import atomic_folder, require_space
from genir.sources import load_sources, require


def open_beir(folder: Path, name: str) -> BeirCollection:
    """The set `name` (nfcorpus, cqadupstack/android) of a folder that holds its zip; unpacked beside it, once.

    webis-touche2020/v2 is what the zip webis-touche2020 holds.
    """
    zipped = zip_name(name)
    place = folder / zipped.removesuffix(".zip")
    if not place.is_dir():
        (archive,) = require(folder, [zipped], "beir")
        unpack(archive, place)
    inner = place / name.partition("/")[2]
    return BeirCollection(inner if inner.is_dir() else place, {})


def zip_name(name: str) -> str:
    """The zip that holds a set; a name that BEIR does not have raises GenirError."""
    zipped = f"{name.split('/')[0]}.zip"
    known = load_sources()["beir"].files
    if zipped not in known:
        sets = ", ".join(file.removesuffix(".zip") for file in known)
        raise GenirError(f"collection.build beir/{name}: BEIR has no such set; there are: {sets}")
    return zipped


def unpack(archive: Path, place: Path) -> None:
    """Unpack the one folder of a zip to `place`, whole or not at all."""
    try:
        with zipfile.ZipFile(archive) as contents:
            inside = f"{archive.stem}/"
            files = [entry for entry in contents.infolist() if entry.filename.startswith(inside) and not entry.is_dir()]
            if not files:
                raise GenirError(f"{archive}: there is no folder {inside} in this zip; is it BEIR's?")
            require_space(place, sum(entry.file_size for entry in files))
            with atomic_folder(place) as folder:
                for entry in files:
                    entry.filename = entry.filename.removeprefix(inside)
                    contents.extract(entry, folder)
    except (zipfile.BadZipFile, EOFError) as error:
        raise GenirError(f"{archive}: damaged or cut short ({error}); fetch it again") from None

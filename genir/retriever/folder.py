"""The folder of a retriever: finding it, its settings, and the hashes with which its files are checked."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

from genir.config import SoftmaxOver
from genir.errors import GenirError
from genir.files import find_damage, read_json, reading_own_file, restore_replaced, write_json
from genir.retriever.hub import SETTINGS_FILE, download_repository, is_hub_name

FORMAT = 6
"""Format of genir.json. Formats 1 and 2 have no hashes; format 1 calls softmax_over "normalize". Experts are in
folders from format 4 on, in format 4 in the order of the collection and not of the docids; from format 6 on, they may
have term weights."""
MAX_ATTEMPTS = 100
"""How often a folder is read that other processes keep replacing."""
_Loaded = TypeVar("_Loaded")


class RetrieverSettings(NamedTuple):
    """The settings of a retriever that are not stored with its model, tokenizer or docids.

    base: the number of the model's text tokens. softmax_over: see `genir.model.DocidModel`. max_tokens: length in
    tokens to which queries are truncated.
    """

    base: int
    softmax_over: SoftmaxOver
    max_tokens: int


def write_settings(folder: Path, settings: RetrieverSettings, files: Mapping[str, str], card: str) -> None:
    """Write genir.json with the settings, and the hashes of all other files in the folder.

    The hashes tie the model, the tokenizer and the docids together: a file of another retriever, or one that was
    damaged later, has another hash. That of the card only tells whether the card was edited.
    """
    card_hash = hashlib.sha256(card.encode()).hexdigest()
    content = {"format": FORMAT, **settings._asdict(), "files": files, "card": card_hash}
    write_json(folder / SETTINGS_FILE, content | {"checksum": _checksum(content)})


def has_files(folder: Path, files: Mapping[str, str]) -> bool:
    """Whether the retriever in a folder was written with these files; files: their hashes, as in genir.json.

    The settings of transformers (`config.json` and the like) are left out: it adds its version and more on its own.
    """
    try:
        written = read_json(folder / SETTINGS_FILE)["files"].items()
    except (GenirError, KeyError, TypeError, AttributeError):
        return False
    return {x for x in written if not x[0].endswith("config.json")} == {
        x for x in files.items() if not x[0].endswith("config.json")
    }


def read_settings(folder: Path) -> RetrieverSettings:
    """Read genir.json, and check that every file it lists is as it was written.

    Raises GenirError if genir.json has an unknown format, or if a file is missing, damaged or from another retriever.
    """
    with reading_own_file(folder / SETTINGS_FILE) as path:
        content = read_json(path)
        number = content["format"]
        if type(number) is not int or not 1 <= number <= FORMAT:
            raise GenirError(f"{path}: has format {number}; this version reads formats 1 to {FORMAT}")
        if number >= 3:
            _require_unchanged(folder, content)
        softmax_over = content["normalize" if number == 1 else "softmax_over"]
        if number < FORMAT and softmax_over == "level":
            raise GenirError(
                f"{path}: trained with a softmax over each level's codebook, which this version has replaced by one "
                "over the trie; train the retriever again"
            )
        if number == 4 and (folder / "experts").exists():
            raise GenirError(
                f"{path}: the index of the experts has the documents in the order of the collection, which this "
                "version has replaced by that of the docids; train the retriever again"
            )
        settings = RetrieverSettings(content["base"], softmax_over, content["max_tokens"])
        if softmax_over not in get_args(SoftmaxOver) or any(type(x) is not int for x in (settings[0], settings[2])):
            raise ValueError(f"unknown settings {settings}")
        return settings


def _require_unchanged(folder: Path, content: Mapping[str, Any]) -> None:
    """Raise GenirError unless the content of genir.json and all files that it lists are as they were written."""
    remedy = "copy the complete folder again, or create it again"
    checked = {name: value for name, value in content.items() if name != "checksum"}
    if content["checksum"] != _checksum(checked):
        raise GenirError(f"{folder / SETTINGS_FILE}: damaged, or edited after genir wrote it; {remedy}")
    damage = find_damage(folder, content["files"])
    if damage is not None:
        path, problem = damage
        problem += "" if problem == "is missing" else ", or from another retriever"
        raise GenirError(f"{path}: {problem}; {remedy}")


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_unmixed(folder: str | Path, load: Callable[[Path], _Loaded], revision: str | None = None) -> _Loaded:
    """Find a retriever folder and call `load` on it, again if another process replaced the folder meanwhile.

    All files that `load` reads are therefore of the old retriever, or all of the new one.
    """
    for _ in range(MAX_ATTEMPTS):
        path = find_retriever(folder, revision)
        before = identify_folder(path)
        try:
            loaded = load(path)
        except Exception:
            if identify_folder(path) == before:
                raise
        else:
            if identify_folder(path) == before:
                return loaded
    raise GenirError(f"{folder}: was replaced {MAX_ATTEMPTS} times while it was read; try again later")


def identify_folder(folder: Path) -> tuple[int, ...] | None:
    """What tells a folder from the one that replaced it; None while there is no folder."""
    try:
        stats = [path.stat() for path in (folder, folder / SETTINGS_FILE)]
    except OSError:
        return None
    return tuple(number for stat in stats for number in (stat.st_dev, stat.st_ino, stat.st_ctime_ns))


def require_replaceable(folder: str | Path) -> None:
    """Raise GenirError unless `folder` does not exist yet, is empty, or holds a retriever, which may be replaced."""
    path = Path(folder)
    is_retriever = (path / SETTINGS_FILE).is_file()
    if path.exists() and not is_retriever and (not path.is_dir() or any(path.iterdir())):
        raise GenirError(f"{path}: holds something that is not a retriever and would be lost; choose another folder")


def find_retriever(folder: str | Path, revision: str | None = None) -> Path:
    """Return the path of a retriever folder: `folder` itself, RUN/retriever of a run, or a download from the hub.

    revision: a branch, tag or commit of the hub's repository, of which `folder` must be the name. Raises GenirError if
    none of these is a retriever.
    """
    if not isinstance(folder, str | Path):
        raise GenirError(f"a retriever is named by a string or a Path, got {folder!r}")
    if not str(folder).strip():
        raise GenirError("the name of the retriever is empty; give a folder, or USER/NAME on the Hugging Face hub")
    path = Path(folder)
    if revision is not None and not is_hub_name(folder):
        raise GenirError(f"{folder}: a revision ({revision}) can only be chosen of a repository on the hub, USER/NAME")
    for place in (path, path / "retriever"):
        restore_replaced(place)
        if (place / SETTINGS_FILE).is_file():
            return place
    if path.exists():
        raise GenirError(f"{folder}: not a retriever (it has no genir.json); a finished run has one in its retriever/")
    if not is_hub_name(folder):
        raise GenirError(f"{folder}: no such folder")
    return download_repository(str(folder), revision)

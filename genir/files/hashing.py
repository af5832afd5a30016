"""Content hashes of files and folders, and lists of hashes with which damage to a folder is found."""

import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.files.reading import require_regular_file


def content_hash(path: Path, cache: dict[str, Any] | None = None) -> str:
    """Compute the SHA-256 digest, in hexadecimal, of a file's contents, or of the paths and contents of a folder.

    Symbolic links are followed, those to folders too. The model card of a retriever folder, the README.md beside its
    genir.json, is left out, since users may edit it.

    cache: known hashes, which this function reads and updates: absolute path -> [size in bytes, modification time in
    nanoseconds, digest]. A file whose size and modification time have not changed is not read again, so that checking
    whether a stage is up to date does not read gigabytes each time. The cache can be stored as JSON.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        card = path / "README.md" if (path / "genir.json").is_file() else None
        for file in sorted(file for file in _files_below(path) if file != card):
            digest.update(f"{file.relative_to(path)}\0{content_hash(file, cache)}\n".encode())
        return digest.hexdigest()
    require_regular_file(path)  # reading a pipe or a device would never end
    stat = path.stat()
    key = str(path.resolve())
    stamp = [stat.st_size, stat.st_mtime_ns]
    cached = None if cache is None else cache.get(key)
    if cached and cached[:2] == stamp:
        return str(cached[2])
    with open(path, "rb") as handle:
        file_digest = hashlib.file_digest(handle, "sha256").hexdigest()
    if cache is not None:
        cache[key] = [*stamp, file_digest]
    return file_digest


def hash_files(folder: Path, list_name: str) -> dict[str, str]:
    """Hash all files of a folder and its subfolders, except the file `list_name` that will hold the hashes."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / list_name)
    return {path.relative_to(folder).as_posix(): content_hash(path) for path in paths}


def find_damage(folder: Path, hashes: Mapping[str, str]) -> tuple[Path, str] | None:
    """Find the first file that is not as `hash_files` found it, and say how; None if all are. New files are ignored."""
    for name, digest in hashes.items():
        if not (folder / name).is_file():
            return folder / name, "is missing"
        if content_hash(folder / name) != digest:
            return folder / name, "is damaged"
    return None


def _files_below(folder: Path) -> Iterator[Path]:
    """All files of a folder and of its subfolders, linked ones included; a link back to a parent folder is skipped."""
    parents = {folder: {os.path.realpath(folder)}}
    for root, subfolders, names in os.walk(folder, followlinks=True):
        here = Path(root)
        above = parents.pop(here)
        subfolders[:] = [name for name in subfolders if os.path.realpath(here / name) not in above]
        parents |= {here / name: above | {os.path.realpath(here / name)} for name in subfolders}
        yield from (here / name for name in names if (here / name).is_file())

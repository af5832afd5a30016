"""Manifests of the folders from which a stage resumes: which files belong to them, and whether they are intact."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

from genir.console import print_note
from genir.errors import GenirError
from genir.files.hashing import find_damage, hash_files
from genir.files.reading import read_json
from genir.files.temporary import remove_folder
from genir.files.writing import atomic_file, write_json

MANIFEST = "manifest.json"
"""Name of the file that lists the hashes of all other files of a folder; it is written last."""


def claim_work_folder(folder: Path, experiment: Any) -> Path:
    """Empty a work folder unless its files belong to the same experiment, and return it.

    experiment: JSON values on which the files depend, such as settings and hashes of inputs. The folder stores their
    hash in the file belongs_to.
    """
    wanted = hashlib.sha256(json.dumps(experiment, sort_keys=True).encode()).hexdigest()
    mark = folder / "belongs_to"
    if not mark.is_file() or mark.read_bytes() != wanted.encode():
        remove_folder(folder)
        with atomic_file(mark) as handle:
            handle.write(wanted)
    return folder


def write_manifest(folder: Path) -> None:
    """Flush all files of a folder to disk, then write their hashes."""
    for path in folder.iterdir():
        if path.is_file():
            with open(path, "rb") as handle:
                os.fsync(handle.fileno())
    write_json(folder / MANIFEST, hash_files(folder, MANIFEST))


def is_complete(folder: Path) -> bool:
    """Whether a folder was written to its end; it may have been damaged afterwards."""
    return (folder / MANIFEST).exists()


def describe_damage(folder: Path) -> str | None:
    """Name the first file of a complete folder that is missing or was changed, and how; None if it is intact."""
    try:
        hashes = read_json(folder / MANIFEST)
    except GenirError:
        hashes = None
    if not isinstance(hashes, dict):
        return f"{MANIFEST} is damaged"
    found = find_damage(folder, hashes)
    return None if found is None else f"{found[0].name} {found[1]}"


def can_reuse(folder: Path) -> bool:
    """Whether a folder with a manifest exists and is as it was written.

    A damaged folder is deleted and named in a note, so that the caller computes it again.
    """
    if not folder.exists():
        return False
    damage = describe_damage(folder) if is_complete(folder) else f"{MANIFEST} is missing"
    if damage is not None:
        print_note(f"{folder}: {damage}; it is computed again")
        remove_folder(folder)
    return damage is None

"""Manifests of checkpoints: which files belong to a complete checkpoint, and whether they are intact."""

import os
from pathlib import Path

from genir.errors import GenirError
from genir.files import content_hash, read_json, write_json

MANIFEST = "manifest.json"
"""Name of the file that lists the hashes of all other files of a checkpoint folder; it is written last."""


def write_manifest(folder: Path) -> None:
    """Flush all files of a checkpoint folder to disk, then write their hashes."""
    hashes = {}
    for path in sorted(folder.iterdir()):
        if path.name != MANIFEST and path.is_file():
            with open(path, "rb") as handle:
                os.fsync(handle.fileno())
            hashes[path.name] = content_hash(path)
    write_json(folder / MANIFEST, hashes)


def is_complete(folder: Path) -> bool:
    """Whether a checkpoint was written to its end; it may have been damaged afterwards."""
    return (folder / MANIFEST).exists()


def find_damage(folder: Path) -> str | None:
    """Name the first file of a complete checkpoint that is missing or was changed, and how; None if it is intact."""
    try:
        hashes = read_json(folder / MANIFEST)
    except GenirError:
        return f"{MANIFEST} is damaged"
    if not isinstance(hashes, dict):
        return f"{MANIFEST} is damaged"
    for name, digest in hashes.items():
        if not (folder / name).is_file():
            return f"{name} is missing"
        if content_hash(folder / name) != digest:
            return f"{name} is damaged"
    return None

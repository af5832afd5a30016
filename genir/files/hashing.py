"""Content hashes of files and folders."""

import hashlib
from pathlib import Path
from typing import Any


def content_hash(path: Path, seen: dict[str, Any] | None = None) -> str:
    """sha256 of a file, or of a folder's file names and contents.

    `seen` remembers digests by path, size and time of change, so that large files are not read at every start.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\0{content_hash(file, seen)}\n".encode())
        return digest.hexdigest()
    stat = path.stat()
    key = str(path.resolve())
    stamp = [stat.st_size, stat.st_mtime_ns]
    known = None if seen is None else seen.get(key)
    if known and known[:2] == stamp:
        return str(known[2])
    with open(path, "rb") as handle:
        value = hashlib.file_digest(handle, "sha256").hexdigest()
    if seen is not None:
        seen[key] = [*stamp, value]
    return value

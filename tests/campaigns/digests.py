"""Digests of run folders, which are equal if all results are equal; times and caches are left out."""

import hashlib
import json
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

UNCOMPARED = {".hashes.json", ".lock"}
"""Names of files that hold no results: the cache of content hashes, and the lock."""
MEASURED = re.compile("runtime|_per_second$|^seconds$|^peak_memory_mb$|^finished$")
"""Keys of JSON files whose values are measured anew in every run."""
WITH_MEASURED = {"sft", "ddro", "irpo", "report"}
"""Outputs whose hashes in stage.json cover such values."""
LAST_SECTION = b"How this run was made"
"""Heading of the section of a report that lists the times of all stages."""


def digest_folder(folder: Path) -> dict[str, Any]:
    """Return the relative path of every file and folder below `folder`, with what is compared of it.

    That is the hash of a file's contents. Links to folders are followed. The TensorBoard files of a folder are one
    entry with their scalars, since an interrupted training writes several files.
    """
    digests: dict[str, Any] = {}
    for root, subfolders, names in os.walk(folder, followlinks=True):
        here = Path(root)
        digests |= {(here / name).relative_to(folder).as_posix(): "folder" for name in subfolders}
        for name in names:
            path = (here / name).relative_to(folder).as_posix()
            if name.startswith("events.out.tfevents"):
                digests[f"{path.rpartition('/')[0]}: scalars"] = read_scalars(here)
            elif name not in UNCOMPARED:
                digests[path] = hashlib.sha256(_compared_bytes(here / name)).hexdigest()
    return digests


def describe_difference(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the paths of two digests that differ; an empty text if none does."""
    parts = {
        "lost": wanted.keys() - found.keys(),
        "left over": found.keys() - wanted.keys(),
        "different": {name for name in found.keys() & wanted.keys() if found[name] != wanted[name]},
    }
    return "; ".join(f"{kind}: {', '.join(sorted(names)[:5])}" for kind, names in parts.items() if names)


def read_scalars(folder: Path) -> dict[str, dict[int, float]]:
    """Read the scalars of a TensorBoard folder, tag -> step -> value, without measured times."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not MEASURED.search(tag)]
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in tags}


def _compared_bytes(path: Path) -> bytes:
    """The contents of a file without measured values."""
    contents = path.read_bytes()
    if path.name in ("stage.json", "log.json"):
        with suppress(ValueError):  # a damaged file is compared as it is
            return json.dumps(_drop_measured(json.loads(contents))).encode()
    return contents.split(LAST_SECTION)[0] if path.name in ("report.md", "report.html") else contents


def _drop_measured(value: Any) -> Any:
    """A JSON value without the entries that are measured, and without hashes of folders that contain such entries."""
    if isinstance(value, list):
        return [_drop_measured(item) for item in value]
    if not isinstance(value, dict):
        return value
    kept = {key: item for key, item in value.items() if not MEASURED.search(key)}
    hashed = {key for key, item in kept.items() if key.strip("?") in WITH_MEASURED and isinstance(item, str)}
    return {key: _drop_measured(item) for key, item in kept.items() if key not in hashed}

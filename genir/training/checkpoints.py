"""Checkpoints of a running training: where they are, which are complete, and when they are deleted."""

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from genir.config import Config
from genir.console import console
from genir.files import content_hash, read_json, write_json
from genir.retriever import Retriever
from genir.training.callbacks import COMPLETE


def last_checkpoint(folder: Path) -> str | None:
    """The newest checkpoint that was written to its end; half-written ones are deleted."""
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        if (path / COMPLETE).exists():
            found[int(path.name.rpartition("-")[2])] = path
        else:
            shutil.rmtree(path)
    return str(found[max(found)]) if found else None


def work_folder(config: Config, name: str, settings: Any, reads: Sequence[str]) -> Path:
    """RUN/checkpoints/NAME, emptied when it belongs to other settings or data."""
    work = config.run_folder / "checkpoints" / name
    parts = [settings, config.seed, *(content_hash(config.run_folder / path) for path in reads)]
    wanted = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    mark = work / "belongs_to.json"
    if not mark.exists() or read_json(mark) != wanted:
        shutil.rmtree(work, ignore_errors=True)
        write_json(mark, wanted)
    return work


def finish(config: Config, name: str, retriever: Retriever, log: Sequence[dict[str, Any]], work: Path) -> None:
    """Save RUN/NAME, the retriever and its log, and give up the checkpoints."""
    retriever.save_pretrained(config.run_folder / name)
    write_json(config.run_folder / name / "log.json", list(log))
    shutil.rmtree(work)
    if not any(work.parent.iterdir()):
        work.parent.rmdir()
    metric = getattr(config, name).metric
    best = max(entry[f"eval_{metric}"] for entry in log if f"eval_{metric}" in entry)
    console.print(f"{name}: dev {metric} {best:.3f}")

"""A stage of the pipeline: it reads some files and settings, writes some files, and is skipped when nothing changed.

`runs/NAME/stage.json` holds, for each stage, its settings, the hashes of what it read and wrote, versions, seed,
threads, wall time and peak memory.
"""

import contextlib
import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import typer

from genir.config import Config, save_config
from genir.console import console, errors
from genir.errors import GenirError
from genir.files import content_hash, folder_lock, read_json, write_json


class Stage(NamedTuple):
    """What a stage depends on and leaves behind; paths are relative to the run folder, and what it reads only where it
    exists has a ? after its name.
    """

    name: str
    settings: tuple[str, ...] = ()  # dotted names of the settings that it uses
    external: tuple[str, ...] = ()  # settings whose value is a path outside the run folder
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()


Main = Callable[[Config], None]


def execute(stage: Stage, main: Main, config: Config, force: bool = False) -> None:
    """Run a stage unless it is up to date, and record it in stage.json."""
    run = config.run_folder
    hashes = load_hashes(run / ".hashes.json")
    settings = {name: _setting(config, name) for name in stage.settings}
    inputs = {name: _input_hash(run, name, hashes) for name in stage.reads}
    for name in stage.external:
        path = Path(str(_setting(config, name)))
        if path.exists():
            inputs[name] = content_hash(path, hashes)
    wanted = {"settings": settings, "seed": config.seed, "inputs": inputs}
    records = load_records(run / "stage.json")
    if not force and _is_fresh(records.get(stage.name), wanted, stage, run, hashes):
        console.print(f"[dim]{stage.name}: up to date[/]")
        return
    with folder_lock(run):
        console.print(f"[bold]{stage.name}[/]")
        save_config(config, run / "config.yaml")
        _prepare_process(config)
        started = time.perf_counter()
        try:
            main(config)
        except KeyboardInterrupt:
            errors.print(f"{stage.name}: stopped; the same command goes on from here")
            raise typer.Exit(130) from None
        record = wanted | {
            "outputs": {name: content_hash(run / name, hashes) for name in stage.writes},
            "seconds": round(time.perf_counter() - started, 2),
            "peak_memory_mb": round(peak_memory_mb()),
            "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "threads": _threads(),  # results depend on it
            "versions": _versions(),
        }
        write_json(run / "stage.json", load_records(run / "stage.json") | {stage.name: record})
        write_json(run / ".hashes.json", hashes)
        console.print(f"[dim]{stage.name}: {record['seconds']:.0f} s, peak memory {record['peak_memory_mb']:,} MB[/]")


def load_records(path: Path) -> dict[str, Any]:
    """The records of stage.json; none where there is no such file."""
    if not path.exists():
        return {}
    try:
        found = read_json(path)
    except (GenirError, ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not all(isinstance(record, dict) for record in found.values()):
        raise GenirError(f"{path}: damaged; bring back a copy, or delete it, and all stages of this run start anew")
    return found


def load_hashes(path: Path) -> dict[str, Any]:
    """Hashes that earlier stages took; none where they cannot be read, since they are only taken again."""
    try:
        found = read_json(path)
    except (GenirError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _setting(config: Config, dotted: str) -> Any:
    value: Any = config.model_dump(mode="json")
    for name in dotted.split("."):
        value = value[name]
    return value


def _input_hash(run: Path, name: str, hashes: dict[str, Any]) -> str | None:
    path = run / name.removesuffix("?")
    if not path.exists():
        if name.endswith("?"):
            return None
        raise GenirError(f"{path}: missing; run the stages before this one first (genir run CONFIG does them all)")
    return content_hash(path, hashes)


def _is_fresh(
    record: dict[str, Any] | None, wanted: dict[str, Any], stage: Stage, run: Path, hashes: dict[str, Any]
) -> bool:
    if record is None or any(record.get(key) != value for key, value in wanted.items()):
        return False
    return all(
        (run / name).exists() and content_hash(run / name, hashes) == record["outputs"].get(name)
        for name in stage.writes
    )


def _prepare_process(config: Config) -> None:
    """Threads and the memory meter; torch is touched only when a stage has imported it."""
    if "torch" in sys.modules:
        import torch

        if config.threads or not os.environ.get("OMP_NUM_THREADS"):  # which torch follows by itself
            torch.set_num_threads(config.threads or _usable_cores())
    restart_peak_meter()  # so that each stage gets its own figure


def _usable_cores() -> int:
    """Those that this process may use: a scheduler's or container's share, where the system can tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _threads() -> int | None:
    """Torch's threads; none where the stage did without torch."""
    if "torch" not in sys.modules:
        return None
    import torch

    return torch.get_num_threads()


def restart_peak_meter() -> None:
    """Let `peak_memory_mb` count from now on (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Peak resident memory since the stage began (Linux), else since the process began."""
    try:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024**2 if sys.platform == "darwin" else 1024)


def _versions() -> dict[str, str]:
    names = ("genir", "torch", "transformers", "numpy", "ir-measures")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}

"""A stage of the pipeline: it reads files and settings, writes files, and is skipped if nothing has changed.

For each stage, `runs/NAME/stage.json` records the settings, the hashes of the inputs and outputs, library versions,
seed, threads, wall time and peak memory.
"""

import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

from rich.text import Text

from genir.config import Config, save_config
from genir.console import console, print_warning
from genir.errors import GenirError, make_printable
from genir.files import folder_lock, remove_leftovers, write_json
from genir.pipeline.interrupts import Interrupted
from genir.pipeline.process import library_versions, peak_memory_mb, prepare_process, torch_threads
from genir.pipeline.staleness import (
    Hashes,
    find_changed_inputs,
    hash_paths,
    load_hashes,
    load_records,
    stale_because,
    wanted_state,
)
from genir.processes import LostConnection, is_main_process, run_on_main, wait_for_all


class Stage(NamedTuple):
    """What a stage depends on and what it writes; paths are relative to the run folder.

    settings: dotted names of the settings that it uses. external: dotted names of settings whose value may be a path
    outside the run folder. reads: its inputs. writes: its outputs. A "?" at the end marks an input or output that may
    be missing. divided: whether all processes of a job do its work together; otherwise only the main process does it.
    """

    name: str
    settings: tuple[str, ...] = ()
    external: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    divided: bool = False


Main = Callable[[Config], None]
"""The function that does the work of a stage."""


def execute(stage: Stage, main: Main, config: Config, force: bool = False) -> None:
    """Run a stage unless it is up to date, print the reason, and record it in stage.json.

    force: run the stage even if it is up to date. Of several processes of a job, the main one decides, and the others
    take part if the stage is divided.
    Raises GenirError if an input is missing, or if another job is using the run folder.
    """
    if not is_main_process():
        _follow(stage, main, config)
        return
    run_folder = config.run_folder
    for folder in (run_folder, *(path for path in run_folder.glob("*") if path.is_dir())):
        remove_leftovers(folder)
    hashes = load_hashes(run_folder / ".hashes.json")
    wanted = wanted_state(config, stage.settings, stage.reads, stage.external, hashes)
    records = load_records(run_folder / "stage.json")
    record = records.get(stage.name)
    if record is not None and set(record.get("outputs", {})) != set(stage.writes):
        reason: str | None = f"its outputs are now {', '.join(stage.writes).replace('?', '')}"
    else:
        reason = stale_because(record, wanted, run_folder, hashes)
    is_needed = reason is not None or force
    if not is_needed:
        console.print(f"{stage.name}: up to date", style="dim")
    with folder_lock(run_folder) if is_needed else nullcontext():
        if run_on_main(lambda: is_needed):
            shown = "" if record is None else f" (runs again: {reason or '--force'})"
            console.print(Text.assemble((stage.name, "bold"), (make_printable(shown), "dim")))
            for path, writer in find_changed_inputs(records, wanted["inputs"]):
                print_warning(
                    f"{run_folder / path} was changed after the stage {writer} wrote it; `genir run` writes it again"
                )
            save_config(config, run_folder / "config.yaml")
            _run_and_record(stage, main, config, wanted, hashes)
    wait_for_all()


def _run_and_record(stage: Stage, main: Main, config: Config, wanted: dict[str, Any], hashes: Hashes) -> None:
    """Run a stage and record it in stage.json with the state that `wanted` describes."""
    prepare_process(config)
    started, run_folder = time.perf_counter(), config.run_folder
    try:
        main(config)
    except Interrupted as interrupted:
        interrupted.add_note(f"the same command continues {stage.name} from here")
        raise
    except LostConnection as error:
        raise GenirError(f"{error}; the same command continues {stage.name} from here") from error
    record = wanted | {
        "outputs": hash_paths(run_folder, stage.writes, hashes),
        "seconds": round(time.perf_counter() - started, 2),
        "peak_memory_mb": round(peak_memory_mb()),
        "finished": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "threads": torch_threads(),  # results depend on the number
        "versions": library_versions(),
    }
    write_json(run_folder / "stage.json", load_records(run_folder / "stage.json") | {stage.name: record})
    write_json(run_folder / ".hashes.json", hashes)
    console.print(f"{stage.name}: {record['seconds']:.0f} s, peak memory {record['peak_memory_mb']:,} MB", style="dim")


def _follow(stage: Stage, main: Main, config: Config) -> None:
    """Do this process's share of a stage if it is divided and not up to date, and wait for the main process."""
    if run_on_main(lambda: False) and stage.divided:  # the main process gives the answer
        prepare_process(config)
        main(config)
    wait_for_all()

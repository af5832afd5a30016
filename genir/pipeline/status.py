"""The state of every stage of a run, found from its records and files, without importing or running any stage."""

from pathlib import Path
from typing import Any, Literal, NamedTuple

from genir.config import Config
from genir.errors import GenirError
from genir.files import find_damage, read_json
from genir.pipeline.staleness import (
    Hashes,
    load_hashes,
    load_records,
    output_changed,
    setting_value,
    stale_because,
    wanted_state,
)

BEFORE_TRAINING = ("prepare", "embed", "docids", "queries", "baseline", "negatives")
AFTER_TRAINING = ("retriever", "search", "evaluate", "compare", "plot", "report")


class StageState(NamedTuple):
    """Whether a stage is up to date, would run again (stale), has not run, or is not needed, with the reason.

    The retriever is "edited" when its folder was changed after training, for example by `genir docids --add`.
    """

    name: str
    state: Literal["up to date", "stale", "not run", "not needed", "edited"]
    reason: str


def needs_pseudo_queries(config: Config) -> bool:
    """Whether a training mix contains pseudo queries, or train queries although the prepared collection has none.

    Pseudo queries then take their place.
    """
    qrels = config.run_folder / "collection" / "qrels"
    return config.trains_on("pseudo_queries") or (
        config.trains_on("queries") and qrels.is_dir() and not (qrels / "train.tsv").exists()
    )


def stage_states(config: Config) -> list[StageState]:
    """Find the states of all stages of a run, in pipeline order."""
    run_folder = config.run_folder
    records, hashes = load_records(run_folder / "stage.json"), load_hashes(run_folder / ".hashes.json")
    writers = {
        output.removesuffix("?"): name for name, record in records.items() for output in record.get("outputs", {})
    }
    states: dict[str, StageState] = {}
    for name in (*BEFORE_TRAINING, *config.training_stages, *AFTER_TRAINING):
        record = records.get(name)
        if name == "queries" and not needs_pseudo_queries(config):
            states[name] = StageState(name, "not needed", "no training mix contains pseudo_queries")
        elif record is None:
            unfinished = (run_folder / "checkpoints" / name).is_dir()
            note = "interrupted or still running; genir run continues it" if unfinished else ""
            states[name] = StageState(name, "not run", note)
        else:
            reason = _changed_since(record, config, hashes) or _stale_input(record, writers, states)
            states[name] = StageState(name, "stale" if reason else "up to date", reason or "")
            if name == "retriever" and reason == output_changed("retriever") and _is_intact(run_folder / name):
                states[name] = StageState(name, "edited", "changed after training; genir train keeps it")
    return list(states.values())


def _changed_since(record: dict[str, Any], config: Config, hashes: Hashes) -> str | None:
    """Find what has changed since a stage was recorded; None if nothing has."""
    settings, inputs = record.get("settings", {}), record.get("inputs", {})
    values = config.model_dump(mode="json")
    external = [name for name in inputs if "." in name and setting_value(values, name) is not None]
    reads = [name for name in inputs if name not in external]
    try:
        wanted = wanted_state(config, settings, reads, external, hashes)
    except GenirError as error:
        return str(error).split(";")[0]
    return stale_because(record, wanted, config.run_folder, hashes)


def _stale_input(record: dict[str, Any], writers: dict[str, str], states: dict[str, StageState]) -> str | None:
    """Explain which input of a stage an earlier stage will write again; None if there is none.

    writers: output -> the stage that writes it. states: those of the earlier stages.
    """
    for name in record.get("inputs", {}):
        writer = writers.get(name.removesuffix("?"), "")
        if writer in states and states[writer].state in ("stale", "not run"):
            return f"it reads {name.removesuffix('?')}, which the stage {writer} will write again"
    return None


def _is_intact(retriever: Path) -> bool:
    """Whether no file of a retriever folder is missing or damaged, according to the hashes in its genir.json."""
    try:
        return find_damage(retriever, read_json(retriever / "genir.json")["files"]) is None
    except (GenirError, KeyError, TypeError, AttributeError):
        return False

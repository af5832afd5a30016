"""Replicates: runs of one experiment that differ only in the seed, and each query's mean over them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation.results import Value, load_run_values

SHOWN_KEYS = 3  # settings that a message names; experiments that differ on purpose often differ in many
IGNORED = {"name", "runs_dir", "seed", "threads", "evaluate"}
"""Settings in which replicates may differ: those that do not change what is trained, and the seed."""


def load_replicates(config: Config, folders: Sequence[Path]) -> dict[str, list[list[Value]]]:
    """Load the runs that all folders contain: run name -> the run's values in each folder, in the folders' order."""
    found: list[dict[str, list[Value]]] = []
    for folder in folders:
        values: dict[str, list[Value]] = {}
        for value in load_run_values(config, folder):
            values.setdefault(value.run, []).append(value)
        found.append(values)
    return {run: [values[run] for values in found] for run in found[0] if all(run in values for values in found)}


def average_over_seeds(run: str, seeds: Sequence[Sequence[Value]]) -> list[Value]:
    """Average each query's values over the replicates `seeds` and name the result `run`.

    Raises GenirError if the replicates were not measured on the same queries with the same measures.
    """
    keys = [[(value.split, value.query, value.measure) for value in values] for values in seeds]
    if any(other != keys[0] for other in keys):
        raise GenirError(
            f"{run}: its seeds were measured on different queries or with different measures; evaluate them again"
        )
    return [
        same[0]._replace(run=run, value=sum(value.value for value in same) / len(same))
        for same in zip(*seeds, strict=True)
    ]


def group_by_experiment(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Group run folders into experiments: label -> the run folders that are replicates of each other.

    Replicates have configs that differ only in IGNORED. If all folders belong to one experiment, its label is "";
    otherwise the console names the settings in which the experiments differ.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        settings = load_config(folder).model_dump(mode="json", exclude=IGNORED)
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(folder)
    if len(found) == 1:
        return {"": list(folders)}
    experiments = dict(zip(unique_labels([same[0] for same in found.values()]), found.values(), strict=True))
    (first, known), *others = zip(experiments, map(json.loads, found), strict=True)
    for label, settings in others:
        keys = list(find_differing_keys(known, settings))
        more = f" and {len(keys) - SHOWN_KEYS:,} more" if len(keys) > SHOWN_KEYS else ""
        shown = ", ".join(keys[:SHOWN_KEYS])
        console.print(f"{first} and {label} are two experiments: their settings differ in {shown}{more}")
    return experiments


def find_differing_keys(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys whose values differ between two configs."""
    for key in {**a, **b}:
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from find_differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            yield f"{prefix}{key}"


def unique_labels(folders: Sequence[Path]) -> list[str]:
    """Make a label ending with "/" for each folder: its name, with as many parent folders as make all labels unique.

    Raises GenirError if a folder is given twice.
    """
    paths = [folder.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise GenirError(f"{path}: this run folder is given twice; name each run folder once")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) + "/" for path in paths]

"""Replicates, which are runs of one experiment that differ only in the seed, and averages over them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation.results import MeasureValue, load_run_values

MAX_NAMED_KEYS = 3  # differing settings that a message names; the settings of two experiments can differ in many
IGNORED_SETTINGS = {"name", "runs_dir", "seed", "threads", "evaluate"}
"""Settings in which replicates may differ: the seed, and settings that do not influence training."""


def load_replicates(config: Config, folders: Sequence[Path]) -> dict[str, list[list[MeasureValue]]]:
    """Load the runs that all folders contain; returns run -> its values in each folder, in the order of the folders.

    Raises GenirError if a folder was not evaluated on the splits and with the measures of the config.
    """
    found: list[dict[str, list[MeasureValue]]] = []
    for folder in folders:
        values: dict[str, list[MeasureValue]] = {}
        for value in load_run_values(config, folder):
            values.setdefault(value.run, []).append(value)
        found.append(values)
    return {run: [values[run] for values in found] for run in found[0] if all(run in values for values in found)}


def average_over_seeds(run: str, seeds: Sequence[Sequence[MeasureValue]]) -> list[MeasureValue]:
    """Average each query's values over the replicates `seeds` and name the result `run`.

    Raises GenirError if the replicates were not measured on the same queries with the same measures.
    """
    keys = [[(value.split, value.query, value.measure) for value in values] for values in seeds]
    if any(other != keys[0] for other in keys):
        raise GenirError(
            f"{run}: the runs of different seeds were measured on different queries or with different measures; "
            "evaluate them again"
        )
    return [
        same[0]._replace(run=run, value=sum(value.value for value in same) / len(same))
        for same in zip(*seeds, strict=True)
    ]


def group_by_experiment(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Group run folders into experiments; returns label -> the run folders that are replicates of each other.

    Replicates have configs that differ only in IGNORED_SETTINGS. If all folders belong to one experiment, its label is
    an empty string; otherwise the settings in which the experiments differ are printed. Raises GenirError if a folder
    is given twice, or if two replicates have the same seed.
    """
    found: dict[str, list[Path]] = {}
    seen: dict[tuple[str, int], Path] = {}
    for folder in folders:
        config = load_config(folder)
        settings = json.dumps(config.model_dump(mode="json", exclude=IGNORED_SETTINGS), sort_keys=True)
        if (settings, config.seed) in seen:
            raise GenirError(
                f"{seen[settings, config.seed]} and {folder} have the same settings and the same seed ({config.seed}); "
                "only runs of different seeds can be averaged"
            )
        seen[settings, config.seed] = folder
        found.setdefault(settings, []).append(folder)
    if len(found) == 1:
        return {"": list(folders)}
    experiments = dict(zip(unique_labels([same[0] for same in found.values()]), found.values(), strict=True))
    (first, known), *others = zip(experiments, map(json.loads, found), strict=True)
    for label, settings in others:
        keys = list(find_differing_keys(known, settings))
        more = f" and {len(keys) - MAX_NAMED_KEYS:,} more" if len(keys) > MAX_NAMED_KEYS else ""
        shown = ", ".join(keys[:MAX_NAMED_KEYS])
        console.print(f"{first} and {label} are different experiments: their settings differ in {shown}{more}")
    return experiments


def find_differing_keys(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted keys whose values differ between two configs; prefix: the beginning of all these keys."""
    for key in {**a, **b}:
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from find_differing_keys(left, right, f"{prefix}{key}.")
        elif left != right:
            yield f"{prefix}{key}"


def unique_labels(folders: Sequence[Path]) -> list[str]:
    """Make a label for each folder that ends with "/": its name, preceded by as many parents as make labels unique.

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

"""One experiment with several seeds: which run folders belong together, and each query's mean over them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from genir.config import Config, load_config
from genir.console import console
from genir.errors import GenirError
from genir.evaluation.results import Value, load_run_values

NAMED = 3  # keys that are named; experiments that are meant to differ do so in many


def by_name(config: Config, folders: Sequence[Path]) -> dict[str, list[list[Value]]]:
    """The runs that all folders have, with their values in each."""
    found: list[dict[str, list[Value]]] = []
    for folder in folders:
        values: dict[str, list[Value]] = {}
        for value in load_run_values(config, folder):
            values.setdefault(value.run, []).append(value)
        found.append(values)
    return {run: [values[run] for values in found] for run in found[0] if all(run in values for values in found)}


def mean_over_seeds(run: str, seeds: Sequence[Sequence[Value]]) -> list[Value]:
    """Each query's mean over the seeds, under the name `run`."""
    places = [[(value.split, value.query, value.measure) for value in values] for values in seeds]
    if any(other != places[0] for other in places):
        raise GenirError(f"{run}: its seeds were not measured on the same queries and measures; evaluate again")
    return [
        same[0]._replace(run=run, value=sum(value.value for value in same) / len(same))
        for same in zip(*seeds, strict=True)
    ]


def experiments_of(folders: Sequence[Path]) -> dict[str, list[Path]]:
    """Label ("" for the only one) -> folders of one experiment: configs that differ only in seed, threads, place, and
    how their run files are measured. Says which settings keep experiments apart.
    """
    found: dict[str, list[Path]] = {}
    for folder in folders:
        settings = load_config(folder).model_dump(
            mode="json", exclude={"name", "folder", "seed", "threads", "evaluate"}
        )
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(folder)
    if len(found) == 1:
        return {"": list(folders)}
    named = dict(zip(labels([same[0] for same in found.values()]), found.values(), strict=True))
    (first, known), *others = zip(named, map(json.loads, found), strict=True)
    for label, settings in others:
        keys = list(differing(known, settings))
        more = f" and {len(keys) - NAMED:,} more" if len(keys) > NAMED else ""
        console.print(f"{first} and {label} are two experiments: they differ in {', '.join(keys[:NAMED])}{more}")
    return named


def differing(a: Mapping[str, Any], b: Mapping[str, Any], above: str = "") -> Iterator[str]:
    """The dotted keys of what is not the same in two configs."""
    for key in {**a, **b}:
        left, right = a.get(key), b.get(key)
        if isinstance(left, dict) and isinstance(right, dict):
            yield from differing(left, right, f"{above}{key}.")
        elif left != right:
            yield f"{above}{key}"


def labels(folders: Sequence[Path]) -> list[str]:
    """A name with a slash for each: the folder's, with as many of its parents' as tell it from the others."""
    paths = [folder.resolve() for folder in folders]
    for path in paths:
        if paths.count(path) > 1:
            raise GenirError(f"{path}: is given twice; a run can only be compared with others")
    depth = 1
    while len({path.parts[-depth:] for path in paths}) < len(paths):
        depth += 1
    return ["/".join(path.parts[-depth:]) + "/" for path in paths]

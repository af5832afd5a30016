"""One experiment with several seeds: which run folders belong together, and each query's mean over them."""

import json
from collections.abc import Sequence
from pathlib import Path

from genir.config import load_config
from genir.errors import GenirError
from genir.evaluation import Value, read_values


def by_name(folders: Sequence[Path]) -> dict[str, list[list[Value]]]:
    """The runs that all folders have, with their values in each."""
    found: list[dict[str, list[Value]]] = []
    for folder in folders:
        values: dict[str, list[Value]] = {}
        for value in read_values(folder / "evaluation" / "per_query.tsv"):
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
    """Label ("" for the only one) -> folders of one experiment: configs that differ only in seed, threads and place."""
    found: dict[str, list[Path]] = {}
    for folder in folders:
        settings = load_config(folder).model_dump(mode="json", exclude={"name", "folder", "seed", "threads"})
        found.setdefault(json.dumps(settings, sort_keys=True), []).append(folder)
    if len(found) == 1:
        return {"": list(folders)}
    return dict(zip(labels([same[0] for same in found.values()]), found.values(), strict=True))


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

"""Per-query values of evaluated runs: written, read, and grouped by run."""

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from genir.config import Config
from genir.errors import GenirError
from genir.files import atomic_file

FIELDS = ("split", "run", "query", "seen", "measure", "value")


class Value(NamedTuple):
    """One measure of one query in one run; seen: a training query points to one of its best documents."""

    split: str
    run: str
    query: str
    seen: bool
    measure: str
    value: float


def write_values(values: Sequence[Value], path: Path) -> None:
    """Write per-query values as TSV."""
    with atomic_file(path) as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows([v.split, v.run, v.query, int(v.seen), v.measure, repr(v.value)] for v in values)


def read_values(path: Path) -> list[Value]:
    """Read what `write_values` wrote."""
    if not path.exists():
        raise GenirError(f"{path}: no such file; run evaluate first")
    with open(path, encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return [Value(r["split"], r["run"], r["query"], r["seen"] == "1", r["measure"], float(r["value"])) for r in rows]


def load_run_values(config: Config, run: Path) -> list[Value]:
    """The values of an evaluated run folder, of the config's splits and measures; GenirError if some are not there."""
    path = run / "evaluation" / "per_query.tsv"
    splits, measures = config.search.splits, config.evaluate.measures
    values = [v for v in read_values(path) if v.split in splits and v.measure in measures]
    there = {(value.split, value.measure) for value in values}
    for split, measure in product(splits, measures):
        if (split, measure) not in there:
            again = f"genir evaluate {run} 'evaluate.measures=[{','.join(measures)}]'"
            raise GenirError(f"{path}: has no {measure} of {split}; run: {again}")
    return values


def by_run(values: Sequence[Value], split: str, measure: str) -> Mapping[str, dict[str, float]]:
    """run -> query -> value of one measure on one split."""
    result: dict[str, dict[str, float]] = {}
    for value in values:
        if value.split == split and value.measure == measure:
            result.setdefault(value.run, {})[value.query] = value.value
    return result

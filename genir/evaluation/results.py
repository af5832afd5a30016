"""Reading, writing and grouping the per-query results of an evaluated run folder."""

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from genir.checks import parse_float
from genir.config import Config
from genir.errors import GenirError, error_at
from genir.files import atomic_file, numbered_lines

FIELDS = ("split", "run", "query", "seen", "measure", "value")
"""Columns of per_query.tsv."""


class MeasureValue(NamedTuple):
    """The value of one measure for one query in one run.

    seen: whether one of the query's best documents (those with its highest grade) is relevant to a train query.
    """

    split: str
    run: str
    query: str
    seen: bool
    measure: str
    value: float


def write_values(values: Sequence[MeasureValue], path: Path) -> None:
    """Write per-query values as TSV with the columns FIELDS."""
    with atomic_file(path) as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n")
        writer.writerow(FIELDS)
        writer.writerows([v.split, v.run, v.query, int(v.seen), v.measure, repr(v.value)] for v in values)


def read_values(path: Path) -> list[MeasureValue]:
    """Read a file that `write_values` wrote.

    Raises GenirError, with the line number, for a missing or malformed file, a value that is not a finite number, and a
    query that has two values of one measure.
    """
    if not path.exists():
        raise GenirError(f"{path}: no such file; run evaluate first")
    rows = csv.reader((text for _, text in numbered_lines(path)), delimiter="\t", strict=True)
    values: dict[tuple[str, str, str, str], MeasureValue] = {}
    try:
        if tuple(next(rows, ())) != FIELDS:
            raise ValueError(f"the header must be {', '.join(FIELDS)}, separated by tabs")
        for row in rows:
            if len(row) != len(FIELDS):
                raise ValueError(f"{len(row)} columns instead of {len(FIELDS)}")
            split, run, query, seen, measure, value = row
            if seen not in ("0", "1"):
                raise ValueError(f"seen must be 0 or 1, got {seen!r}")
            key = (split, run, query, measure)
            if key in values:
                raise ValueError(f"a second value of {measure} for query {query!r} in the run {run!r}")
            values[key] = MeasureValue(split, run, query, seen == "1", measure, parse_float(value))
    except (ValueError, csv.Error) as error:
        raise error_at(path, max(1, rows.line_num), f"{error}; run evaluate again") from None
    return list(values.values())


def load_run_values(config: Config, run: Path) -> list[MeasureValue]:
    """Read the values of an evaluated run folder for the config's splits and measures.

    Raises GenirError if the folder was not evaluated on one of the splits or with one of the measures.
    """
    path = run / "evaluation" / "per_query.tsv"
    splits, measures = config.search.splits, config.evaluate.measures
    values = [v for v in read_values(path) if v.split in splits and v.measure in measures]
    found = {(value.split, value.measure) for value in values}
    for split, measure in product(splits, measures):
        if (split, measure) not in found:
            command = f"genir evaluate {run} 'evaluate.measures=[{','.join(measures)}]'"
            raise GenirError(f"{path}: this file has no values of {measure} on {split}; run: {command}")
    return values


def group_by_run(values: Sequence[MeasureValue], split: str, measure: str) -> Mapping[str, dict[str, float]]:
    """Group the values of one measure on one split: run -> query id -> value."""
    result: dict[str, dict[str, float]] = {}
    for value in values:
        if value.split == split and value.measure == measure:
            result.setdefault(value.run, {})[value.query] = value.value
    return result

"""What evaluation leaves: per-query values of each run, their means and intervals, and the tests between runs."""

import csv
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

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


class Interval(NamedTuple):
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    queries: int


def bootstrap_interval(values: Sequence[float], resamples: int, seed: int) -> Interval:
    """Percentile bootstrap over queries; nan for none, no width for one."""
    if len(values) < 2:
        mean = float(np.mean(values)) if values else float("nan")
        return Interval(mean, mean, mean, len(values))
    result = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
    )
    low, high = result.confidence_interval
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def paired_test(a: Sequence[float], b: Sequence[float], seed: int) -> float:
    """p of the two-sided paired randomisation test (Smucker et al., CIKM 2007) that a and b have the same mean."""
    difference = np.asarray(a) - np.asarray(b)
    if not difference.any():
        return 1.0
    result = stats.permutation_test(
        (difference, np.zeros_like(difference)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's step-down correction: adjusted p values, which bound the chance of any false discovery among them."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


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


def measured(config: Config, run: Path) -> list[Value]:
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

"""The means of measures with their intervals, and the table that shows them."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from genir.errors import make_printable
from genir.evaluation.results import MeasureValue
from genir.evaluation.significance import Interval, bootstrap_interval


def summarise(values: Sequence[MeasureValue], resamples: int, seed: int) -> dict[str, Any]:
    """Average the values of each run and measure over all, over seen, and over unseen queries.

    resamples, seed: those of the bootstrap intervals. Returns split -> run -> measure -> "all", "seen" or "unseen" ->
    the fields of an Interval.
    """
    numbers_of: dict[tuple[str, str, str, str], list[float]] = {}
    for value in values:
        for part in ("all", "seen" if value.seen else "unseen"):
            numbers_of.setdefault((value.split, value.run, value.measure, part), []).append(value.value)
    summary: dict[str, Any] = {}
    for (split, run, name, part), numbers in numbers_of.items():
        interval = bootstrap_interval(numbers, resamples, seed)
        summary.setdefault(split, {}).setdefault(run, {}).setdefault(name, {})[part] = interval._asdict()
    return summary


def make_measures_table(
    runs: Mapping[str, Any], split: str, measures: Sequence[str], certified: Mapping[str, float]
) -> Table:
    """Make a table with one line per run, followed by lines for seen and unseen documents if a split has both.

    runs: run -> measure -> part of the queries -> the fields of an Interval. certified: run -> share of its queries
    that are certified, for runs that have certificates.
    """
    table = Table(title=f"{split}: mean [95 % interval]", title_justify="left")
    table.add_column("run", overflow="fold", min_width=9)
    # With these minimum widths, numbers are not wrapped in a terminal of 80 columns.
    last = [("certified", 9)] if certified else []
    for name, width in (("queries", 7), *((name, 7) for name in measures), *last):
        table.add_column(name, justify="right", overflow="fold", min_width=width)
    for run, values in runs.items():
        parts = [part for part in ("all", "seen", "unseen") if part in values[measures[0]]]
        for part in parts if len(parts) == 3 else ["all"]:
            intervals = [Interval(**values[name][part]) for name in measures]
            is_all = part == "all"
            label = Text(make_printable(run) if is_all else f"  {part} documents", "bold" if is_all else "dim")
            cells = [Text.assemble(f"{x.mean:.3f} ", (f"[{x.low:.3f}, {x.high:.3f}]", "dim")) for x in intervals]
            share = f"{certified[run]:.1%}" if part == "all" and run in certified else ""
            table.add_row(label, f"{intervals[0].queries:,}", *cells, *([share] if certified else []))
    return table

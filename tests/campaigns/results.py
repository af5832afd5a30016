"""Results of the trials of a campaign, their counts, and the table and JSON file that report them."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from tests.campaigns.children import Outcome

SOUND = ("recovered", "refused", "harmless", "accepted")
"""Verdicts that are no faults; all others are."""


class Result(NamedTuple):
    """The verdict on one trial.

    group: the scenario, or the kind of input. trial: what was done. detail: what the verdict rests on.
    """

    group: str
    trial: str
    verdict: str
    detail: str

    @property
    def is_fault(self) -> bool:
        """Whether the trial found a fault."""
        return self.verdict not in SOUND


def describe_failure(outcome: Outcome, what: str) -> tuple[str, str]:
    """The verdict on a command that did not end with status 0, and a detail; `what` says which command that is."""
    last = (outcome.errors.strip().splitlines() or ["nothing on stderr"])[-1]
    if outcome.code is None:
        return "hang", f"{what}: no end within the time limit"
    if outcome.code < 0:
        return "crash", f"{what}: signal {-outcome.code}; {last}"
    if "Traceback (most recent call last)" in outcome.errors:
        frames = re.findall(r'File "([^"]+)", line (\d+)', outcome.errors)
        own = [f"{path}:{line}" for path, line in frames if re.search("/(genir|indexing|eval)/", path)]
        return "traceback", f"{what}: {last} ({(own or ['?'])[-1]})"
    return "failed", f"{what}: status {outcome.code}; {last}"


def make_table(title: str, results: Sequence[Result]) -> Table:
    """Make a table with a row for each group of trials: how many there were, and how many got each verdict."""
    verdicts = [*SOUND, *sorted({result.verdict for result in results} - {*SOUND})]
    verdicts = [name for name in verdicts if any(result.verdict == name for result in results)]
    table = Table(title=title, title_justify="left")
    for name in ("", "trials", *verdicts):
        table.add_column(name, justify="right" if name else "left")
    for group, counts in [*count_by_group(results).items(), ("all", Counter(result.verdict for result in results))]:
        table.add_row(group, f"{counts.total():,}", *(f"{counts[name]:,}" for name in verdicts))
    return table


def count_by_group(results: Sequence[Result]) -> dict[str, Counter[str]]:
    """Count the verdicts of each group of trials."""
    counts: dict[str, Counter[str]] = {}
    for result in results:
        counts.setdefault(result.group, Counter())[result.verdict] += 1
    return counts


def write_results(path: Path, campaigns: dict[str, Sequence[Result]]) -> None:
    """Write the counts and the faults of campaigns as JSON."""
    values = {
        name: {
            "trials": len(results),
            "verdicts": Counter(result.verdict for result in results),
            "groups": count_by_group(results),
            "faults": [result._asdict() for result in results if result.is_fault],
        }
        for name, results in campaigns.items()
    }
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

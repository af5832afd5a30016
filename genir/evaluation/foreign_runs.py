"""Measuring run files of any system on any judgments, without a run folder."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from genir.config import EvaluateConfig
from genir.console import console, print_note
from genir.errors import GenirError
from genir.evaluation.measures import measure, parse_measures
from genir.evaluation.pairs import compare_pairs, make_pairs_table
from genir.evaluation.results import MeasureValue, group_by_run
from genir.evaluation.summary import make_measures_table, summarise
from genir.evaluation.trec import read_hits, read_qrels

SEED = 1
"""Seed of the bootstrap and of the randomisation test, the default of configs."""


def evaluate_run_files(paths: Sequence[Path], qrels_path: Path, measures: Sequence[str]) -> None:
    """Measure run files, and print a table with 95 % intervals and, of several runs, the tests of their differences.

    A judged query without hits counts as 0, and a query without judgments is left out, both with a note. Raises
    GenirError, with file and line, for malformed files, for an unknown measure, and for a run without judged queries.
    """
    parse_measures(measures)
    judged, split = read_qrels(qrels_path), qrels_path.name
    values = []
    for name, path in zip(_name_runs(paths), paths, strict=True):
        run = read_hits(path)
        if not judged.keys() & run.keys():
            raise GenirError(
                f"{path}: none of its queries is judged in {qrels_path}; give the judgments that belong to it"
            )
        if missing := len(judged.keys() - run.keys()):
            print_note(f"{path}: {missing:,} of {len(judged):,} judged queries have no hits and count as 0")
        if unjudged := len(run.keys() - judged.keys()):
            print_note(f"{path}: {unjudged:,} queries without judgments are left out")
        for label, by_query in measure(run, judged, measures).items():
            values += [MeasureValue(split, name, query, False, label, value) for query, value in by_query.items()]
    summary = summarise(values, EvaluateConfig().bootstrap, SEED)[split]
    console.print(make_measures_table(summary, split, measures, {}))
    if len(paths) > 1:
        grouped = {name: group_by_run(values, split, name) for name in measures}
        rows = [row for name in measures for row in compare_pairs(grouped[name], split, name, SEED)]
        console.print(make_pairs_table(rows, split))


def _name_runs(paths: Sequence[Path]) -> list[str]:
    """Name each run by its file without .trec, or by its path if several files have the same name."""
    counts = Counter(path.name for path in paths)
    names = [path.name.removesuffix(".trec") if counts[path.name] == 1 else str(path) for path in paths]
    if twice := next((name for name, times in Counter(names).items() if times > 1), None):
        raise GenirError(f"--run {twice} is given twice; leave one out")
    return names

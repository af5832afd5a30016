"""evaluate: measures of every run, with intervals, and for seen and unseen documents apart."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config
from genir.console import console
from genir.docids import DocidTable
from genir.docids.order import docid_numbers
from genir.evaluation.measures import measure
from genir.evaluation.protocol_card import with_fingerprint
from genir.evaluation.results import Value, write_values
from genir.evaluation.significance import Interval, bootstrap_interval
from genir.evaluation.tied_docids import tie_measures
from genir.evaluation.trec import qrels, read_run
from genir.files import atomic_folder, read_json, write_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage


def main(config: Config) -> None:
    """Measure all run files of RUN/baseline and RUN/runs; write evaluation/measures.json, per_query.tsv and card.json.

    Means stand with their 95 % bootstrap intervals over queries. A query is seen when a training query points to one
    of its best documents (those of its highest grade); both kinds are also given apart. A judged query without hits
    counts as 0. Where documents share a docid, measures of the best, expected and worst order among them are given too.
    Run files of a training stage that the config has not (any more) are left out.

    certificates.json and the column "exact" tell for which share of the queries the hits are provably the best of all
    documents by the model's score, so that no more beams could change them.
    """
    data = PreparedCollection(config.run_folder / "collection")
    trained = {judgment.doc_id for judgment in data.judgments("train") if judgment.grade > 0}
    values: list[Value] = []
    ties: list[Value] = []
    exact: dict[str, dict[str, float]] = {}
    docid = shared_docids(config.run_folder / "docids")
    for split in config.search.splits:
        judged = qrels(data.judgments(split))
        seen = {query: is_seen(grades, trained) for query, grades in judged.items()}
        for path in run_files(config, split):
            name = path.name.split(".")[0]
            found = read_run(path)
            if (certificates := path.with_suffix(".exact.json")).exists():
                exact.setdefault(split, {})[name] = statistics.fmean(read_json(certificates).values())
            for label, by_query in measure(found, judged, config.evaluate.measures).items():
                values += [Value(split, name, query, seen[query], label, value) for query, value in by_query.items()]
            if docid and path.parent.name == "runs":
                orders = tie_measures(found, judged, docid, config.evaluate.measures, config.seed)
                for order, measures in orders.items():
                    rows = [(label, q, x) for label, by_query in measures.items() for q, x in by_query.items()]
                    ties += [Value(split, f"{name} ({order} order)", q, seen[q], label, x) for label, q, x in rows]
    summary = summarise([*values, *ties], config)
    with atomic_folder(config.run_folder / "evaluation") as folder:
        write_values(values, folder / "per_query.tsv")
        write_json(folder / "measures.json", summary)
        write_json(folder / "card.json", with_fingerprint(config.run_folder))
        write_json(folder / "certificates.json", exact)
    for split in config.search.splits:
        console.print(table(summary[split], split, config.evaluate.measures, exact.get(split, {})))


def shared_docids(folder: Path) -> dict[str, int]:
    """document -> number of its docid; empty when there is no table, or every document has a docid of its own."""
    if not folder.exists():
        return {}
    table = DocidTable.load(folder)
    if table.unique_share == 1:
        return {}
    return dict(zip(table.doc_ids, docid_numbers(table.codes).tolist(), strict=True))


def is_seen(grades: Mapping[str, int], trained: set[str]) -> bool:
    """Whether one of a query's best documents is among those that training queries point to."""
    best = max(grades.values())
    return any(doc_id in trained for doc_id, grade in grades.items() if grade == best)


def run_files(config: Config, split: str) -> list[Path]:
    """The baseline's run files, those of the config's training stages in their order, then any others."""
    folder = config.run_folder / "runs"
    found = {*folder.glob(f"*.{split}.trec")}
    by_stage = {name: path for name in TRAINING_STAGES if (path := folder / f"{name}.{split}.trec") in found}
    for name in [name for name in by_stage if name not in config.training_stages]:  # made before it was taken out
        console.print(f"[yellow]note:[/] {by_stage[name]} is left out, since the config has no {name}")
        found.remove(by_stage.pop(name))
    stages = list(by_stage.values())
    return [*sorted((config.run_folder / "baseline").glob(f"*.{split}.trec")), *stages, *sorted(found - {*stages})]


def summarise(values: Sequence[Value], config: Config) -> dict[str, Any]:
    """split -> run -> measure -> all, seen, unseen -> mean, low, high, queries."""
    docid_numbers: dict[tuple[str, str, str, str], list[float]] = {}
    for value in values:
        for part in ("all", "seen" if value.seen else "unseen"):
            docid_numbers.setdefault((value.split, value.run, value.measure, part), []).append(value.value)
    summary: dict[str, Any] = {}
    for (split, run, name, part), numbers in docid_numbers.items():
        interval = bootstrap_interval(numbers, config.evaluate.bootstrap, config.seed)
        summary.setdefault(split, {}).setdefault(run, {}).setdefault(name, {})[part] = interval._asdict()
    return summary


def table(runs: dict[str, Any], split: str, measures: Sequence[str], exact: Mapping[str, float]) -> Table:
    """One line a run; where some queries are unseen, a line each for seen and unseen; share of exact searches."""
    shown = Table(title=f"{split}: mean [95 % interval]", title_justify="left")
    shown.add_column("run", overflow="fold", min_width=9)
    for name, width in (("queries", 7), *((name, 7) for name in measures), ("exact", 6)):  # numbers are not cut
        shown.add_column(name, justify="right", overflow="fold", min_width=width)
    for run, values in runs.items():
        parts = [part for part in ("all", "seen", "unseen") if part in values[measures[0]]]
        for part in parts if len(parts) == 3 else ["all"]:
            intervals = [Interval(**values[name][part]) for name in measures]
            label = f"[bold]{run}[/]" if part == "all" else f"[dim]  {part} documents[/]"
            cells = [f"{x.mean:.3f} [dim]\\[{x.low:.3f}, {x.high:.3f}][/]" for x in intervals]
            proven = f"{exact[run]:.1%}" if part == "all" and run in exact else ""
            shown.add_row(label, f"{intervals[0].queries:,}", *cells, proven)
    return shown


STAGE = Stage(
    "evaluate",
    settings=("evaluate", "search.splits", "ddro", "irpo"),
    reads=("collection", "docids?", "baseline", "runs"),
    writes=("evaluation",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

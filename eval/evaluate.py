"""evaluate: compute measures of every run with confidence intervals, also separately for seen and unseen queries."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.table import Table

from genir.collection.prepared import PreparedCollection
from genir.config import TRAINING_STAGES, Config, EvaluateConfig, load_config
from genir.config.measures import find_cutoff
from genir.console import console, print_note, print_warning
from genir.docids import DocidTable
from genir.docids.order import docid_numbers
from genir.errors import GenirError
from genir.evaluation.contributions import COLUMNS, Contributions, write_contributions
from genir.evaluation.foreign_runs import evaluate_run_files
from genir.evaluation.measures import measure
from genir.evaluation.protocol_card import make_run_card
from genir.evaluation.results import MeasureValue, group_by_run, write_values
from genir.evaluation.summary import make_measures_table, summarise
from genir.evaluation.tied_docids import measure_tie_orders
from genir.evaluation.trec import Run, qrels, read_run
from genir.files import atomic_folder, list_folder, read_json, write_json
from genir.pipeline.command import ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.scoring.ablation import measure_experts


class Split(NamedTuple):
    """The judgments of a split.

    judged: query id -> doc_id -> grade. seen: query id -> whether the query is seen, as `is_seen` defines it.
    """

    name: str
    judged: dict[str, dict[str, int]]
    seen: dict[str, bool]


def main(config: Config) -> None:
    """Measure all run files in RUN/baseline and RUN/runs, and write the results to RUN/evaluation.

    The files are measures.json, per_query.tsv, certificates.json, experts.json and card.json. Means are given with 95 %
    bootstrap confidence intervals over the queries. A query is "seen" if one of its best documents (those with its
    highest grade) is relevant to a train query; seen and unseen queries are also measured separately. A judged query
    without hits counts as 0. If documents share docids, the measures of the best, the expected and the worst order
    among them are given too. Run files of a training stage that is not in the config are ignored.

    certificates.json and the column "certified" give the share of queries whose top hits, down to the largest cut-off
    of the measures, are proven to be the model's best documents in this order, so that more beams could not change
    them.

    If the retriever has experts, experts.json and a last table give what each of them and the model contribute to
    sft.metric on at most 1,000 queries of the first split.
    """
    data = PreparedCollection(config.run_folder / "collection")
    trained = {judgment.doc_id for judgment in data.judgments("train") if judgment.grade > 0}
    docid = load_shared_docids(config.run_folder / "docids")
    values: list[MeasureValue] = []
    tie_values: list[MeasureValue] = []
    certificates: dict[str, dict[str, float]] = {}
    for name in config.search.splits:
        judged = qrels(data.judgments(name))
        split = Split(name, judged, {query: is_seen(grades, trained) for query, grades in judged.items()})
        for path in list_run_files(config, name):
            run_name, run = path.name.removesuffix(f".{name}.trec"), read_run(path)
            if not run:
                print_warning(f"{path} has no hits, so that its measures are 0")
            for query_id, ranked in run.items():
                if data.is_ignored(query_id, query_id):
                    ranked.pop(query_id, None)
            values += measure_run(config, split, run_name, run)
            if docid and path.parent.name == "runs":
                tie_values += measure_ties(config, split, run_name, run, docid)
            if (proven := path.with_suffix(".certified.json")).exists():
                share = certified_share(read_certificates(proven), run, config.evaluate.cutoff)
                certificates.setdefault(name, {})[run_name] = share
    summary = summarise([*values, *tie_values], config.evaluate.bootstrap, config.seed)
    parts = measure_parts(config, data, values)
    with atomic_folder(config.run_folder / "evaluation") as folder:
        write_values(values, folder / "per_query.tsv")
        write_json(folder / "measures.json", summary)
        write_json(folder / "card.json", make_run_card(config.run_folder))
        write_json(folder / "certificates.json", certificates)
        if parts is not None:
            write_contributions(parts, folder / "experts.json")
    print_results(config, summary, certificates)
    if parts is not None:
        console.print(make_parts_table(parts))
        console.print(parts.explanation, style="dim")


def measure_parts(config: Config, data: PreparedCollection, values: Sequence[MeasureValue]) -> Contributions | None:
    """Measure what each expert and the model contribute on the first split; None if the run has no experts.

    values: those of the runs, from which the model's measure is taken.
    """
    folder, split, metric = config.run_folder / "sft", config.search.splits[0], config.sft.metric
    if not config.uses_experts or not (folder / "experts").exists():
        return None
    # These import transformers, which takes seconds and is not needed otherwise.
    from genir.retriever.documents import load_documents
    from genir.retriever.folder import read_settings

    read_settings(folder)  # refuses damaged files
    index = load_documents(folder)
    assert index.experts is not None
    doc_ids = [index.table.doc_ids[doc_index] for doc_index in index.trie.doc_indices.tolist()]
    k = find_cutoff(metric) or config.search.k
    parts = measure_experts(index.experts, doc_ids, data, split, metric, k)
    by_run = group_by_run(values, split, metric)
    last = next((name for name in reversed(config.training_stages) if name in by_run), None)
    if last is None:
        return parts
    measured = [by_run[last][query.id] for query in data.queries(split)[: parts.queries]]
    return parts._replace(run=last, combined=statistics.fmean(measured))


def print_results(config: Config, summary: Mapping[str, Any], certificates: Mapping[str, Mapping[str, float]]) -> None:
    """Print a table for each split, and notes about measures without a cut-off and about the certificates."""
    for name in config.search.splits:
        console.print(make_measures_table(summary[name], name, config.evaluate.measures, certificates.get(name, {})))
    if unlimited := [name for name in config.evaluate.measures if find_cutoff(name) is None]:
        print_note(
            f"{', '.join(unlimited)}: computed on the search.k = {config.search.k} hits of each "
            "query, since the name has no cut-off"
        )
    if certificates:
        console.print(
            f"certified: share of queries whose top {config.evaluate.cutoff} is proven to be the model's best",
            style="dim",
        )


def load_shared_docids(folder: Path) -> dict[str, int]:
    """Load doc_id -> number of its docid; empty if there is no docid table, or if no two documents share a docid."""
    if not folder.exists():
        return {}
    table = DocidTable.load(folder)
    if table.unique_share == 1:
        return {}
    return dict(zip(table.doc_ids, docid_numbers(table.codes).tolist(), strict=True))


def is_seen(grades: Mapping[str, int], trained: set[str]) -> bool:
    """Whether one of a query's best documents is in `trained`, the documents that are relevant to a train query.

    grades: doc_id -> grade, for the judged documents of the query.
    """
    best = max(grades.values())
    return any(doc_id in trained for doc_id, grade in grades.items() if grade == best)


def list_run_files(config: Config, split: str) -> list[Path]:
    """List the run files NAME.SPLIT.trec of a split: those of the baseline, experts, training stages, then all others.

    Raises GenirError if two of them have the same name, such as one of the user's that is named as the baseline.
    """
    folder = config.run_folder / "runs"
    # a.b.trec is a run of the split a.b, if there is such a split, and not of b
    longer = tuple(f".{other}.trec" for other in config.search.splits if other.endswith(f".{split}"))
    names = [name for name in list_folder(folder) if not name.startswith(".")]
    found = {folder / name for name in names if name.endswith(f".{split}.trec") and not name.endswith(longer)}
    own = ("experts", *TRAINING_STAGES)
    by_stage = {name: path for name in own if (path := folder / f"{name}.{split}.trec") in found}
    wanted = [*(["experts"] if config.uses_experts else []), *config.training_stages]
    for name in [name for name in by_stage if name not in wanted]:  # written by an earlier config
        print_note(f"{by_stage[name]} is ignored, since the config has no section {name}")
        found.remove(by_stage.pop(name))
    stages = list(by_stage.values())
    baseline = [
        config.run_folder / "baseline" / name
        for name in list_folder(config.run_folder / "baseline")
        if name.endswith(f".{split}.trec")
    ]
    for path in baseline:
        if folder / path.name in found:
            raise GenirError(f"{folder / path.name}: {path} has the same name; rename one of the runs")
    return [*baseline, *stages, *sorted(found - {*stages})]


def measure_run(config: Config, split: Split, name: str, run: Run) -> list[MeasureValue]:
    """Measure one run: one value for each measure and judged query."""
    return _as_values(split, name, measure(run, split.judged, config.evaluate.measures))


def measure_ties(config: Config, split: Split, name: str, run: Run, docid: Mapping[str, int]) -> list[MeasureValue]:
    """Measure one run under the best, the expected and the worst order of the documents that share a docid."""
    orders = measure_tie_orders(run, split.judged, docid, config.evaluate.measures, config.seed)
    return [
        value
        for order, by_measure in orders.items()
        for value in _as_values(split, f"{name} ({order} order)", by_measure)
    ]


def _as_values(split: Split, run: str, by_measure: Mapping[str, Mapping[str, float]]) -> list[MeasureValue]:
    return [
        MeasureValue(split.name, run, query, split.seen[query], label, value)
        for label, by_query in by_measure.items()
        for query, value in by_query.items()
    ]


def read_certificates(path: Path) -> dict[str, int]:
    """Read a file of certificates that the search stage wrote; raises GenirError if it is damaged."""
    found = read_json(path)
    if not isinstance(found, dict) or not found or not all(type(count) is int for count in found.values()):
        raise GenirError(f"{path}: damaged: it must map query ids to whole numbers; run the search stage again")
    return found


def certified_share(proven: Mapping[str, int], run: Run, cutoff: int) -> float:
    """Compute the share of queries whose first `cutoff` hits (or all, if there are fewer) are proven to be the best.

    proven: query id -> number of its first hits that are proven to be the model's best documents in this order.
    """
    return statistics.fmean(count >= min(cutoff, len(run.get(query, {}))) for query, count in proven.items())


def make_parts_table(parts: Contributions) -> Table:
    """Make a table with one line for each expert, and one for the model."""
    table = Table(title=f"experts, {parts.split}: {parts.measure}", title_justify="left")
    for number, name in enumerate(COLUMNS):
        table.add_column(name, justify="right" if number else "left")
    for row in parts.rows:
        table.add_row(*row)
    return table


def command(
    config: Annotated[
        str | None,
        typer.Argument(metavar="CONFIG", help="A config file, or the folder of a run.", show_default=False),
    ] = None,
    overrides: OverridesArgument = None,
    runs: Annotated[
        list[Path] | None,
        typer.Option("--run", metavar="RUN.trec", help="Measure this TREC run file, without CONFIG; may be repeated."),
    ] = None,
    judged: Annotated[
        Path | None,
        typer.Option("--qrels", metavar="QRELS", help="The judgments for --run: TREC's four columns, or BEIR's three."),
    ] = None,
    measures: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="The measures for --run, as ir-measures calls them, with commas between them; by default "
            f"{','.join(EvaluateConfig().measures)}.",
            show_default=False,
        ),
    ] = None,
    force: ForceOption = False,
) -> None:
    """Measure all run files of a run folder with 95 % confidence intervals, also for seen and unseen queries.

    Run files of other systems are measured too if they are in RUN/runs as NAME.SPLIT.trec. The results are written to
    RUN/evaluation: measures.json, per_query.tsv, certificates.json, experts.json and card.json. Means are given with
    bootstrap intervals over the queries. A query is "seen" if one of its best documents (those with its highest grade)
    is relevant to a train query. A judged query without hits counts as 0.

    With --run and --qrels, any run file is measured on any judgments, without CONFIG, and nothing is written. Of
    several runs, each pair is tested for significance (paired randomisation test, Holm-corrected).
    """
    if runs or judged is not None:
        if config is not None or not runs or judged is None:
            raise GenirError("--run and --qrels are given together, and without CONFIG and KEY=VALUE")
        names = EvaluateConfig().measures if measures is None else [name.strip() for name in measures.split(",")]
        evaluate_run_files(runs, judged, list(dict.fromkeys(names)))
        return
    if measures is not None:
        raise GenirError("--measures is for --run and --qrels; for CONFIG, give the setting evaluate.measures=[...]")
    if config is None:
        raise GenirError("give CONFIG, or a run file and its judgments: --run RUN.trec --qrels QRELS")
    execute(STAGE, main, load_config(config, overrides or []), force)


STAGE = Stage(
    "evaluate",
    settings=("evaluate", "search.splits", "search.k", "sft.metric", "experts", "ddro", "irpo"),
    reads=("collection", "docids?", "baseline", "runs", "sft?"),
    writes=("evaluation",),
)

if __name__ == "__main__":
    run_command(command, STAGE.name, ("evaluate", "search.splits", "search.k", "sft.metric", "experts"))

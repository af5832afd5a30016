"""report: write the results of a run as Markdown, as a self-contained HTML page, and as LaTeX tables for a paper."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import base64
import html
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any

import jinja2
import markdown

from genir.collection.prepared import PreparedCollection
from genir.config import Config
from genir.console import console, print_note
from genir.errors import make_printable
from genir.evaluation.contributions import read_contributions
from genir.evaluation.headline import compose_headline, format_value
from genir.evaluation.protocol_card import read_card
from genir.evaluation.results import MeasureValue, group_by_run, load_run_values
from genir.evaluation.trec import qrels, read_run
from genir.files import atomic_file, atomic_folder, read_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

EXAMPLES = 5  # number of queries with the largest gains, and with the largest losses, that are shown of a split
HITS = 3  # number of hits of each run that are shown for such a query
TEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
}
TITLE_WORDS = 12  # number of words of the text that are shown for a document without a title


def main(config: Config) -> None:
    """Write report.md, report.html (which contains its figures) and results.tex to RUN/report.

    The report begins with the main result in one sentence. It is followed by the measures with intervals, also
    separately for seen and unseen documents; the significance tests; what the experts and the model contribute; the
    queries with the largest gains and losses of the last training stage over the first run (BM25), with the top hits of
    both; the docid report; the training curves; the protocol card; and the method, stages and versions that produced
    the run. Parts whose files do not exist are omitted.
    """
    run = config.run_folder
    page = collect_page(config)
    with atomic_folder(run / "report") as folder:
        text = render("report.md.j2", page, lambda path: f"../{path}")
        with atomic_file(folder / "report.md") as handle:
            handle.write(text)
        with_images = render("report.md.j2", page, lambda path: data_uri(run / path))
        body = markdown.markdown(with_images, extensions=["tables"])
        with atomic_file(folder / "report.html") as handle:
            handle.write(render("page.html.j2", {"name": config.name, "body": body}))
        with atomic_file(folder / "results.tex") as handle:
            handle.write(render("results.tex.j2", page))
    console.print(f"{run / 'report'}: report.md, report.html, results.tex")


def collect_page(config: Config) -> dict[str, Any]:
    """Collect the data that the templates show."""
    run = config.run_folder
    values = load_run_values(config, run)
    tests = load_tests(config, values)
    summary = read_json(run / "evaluation" / "measures.json")
    stages = {name: record for name, record in (read_optional(run / "stage.json") or {}).items() if name != STAGE.name}
    last = stages[list(stages)[-1]] if stages else {}
    curves = {"Loss and dev measure of sft": "figures/training.png"}
    curves |= {f"Curves of {name}": f"figures/{name}.png" for name in config.training_stages[1:]}
    figure = "docids/report.png"
    return {
        "name": config.name,
        "method": describe_method(config),
        "metric": config.sft.metric,
        "measures": config.evaluate.measures,
        "cutoff": config.evaluate.cutoff,
        "seed": config.seed,
        "card": list(flatten(read_card(run))),
        "splits": [collect_split(config, name, summary[name], values, tests) for name in config.search.splits],
        "tests": tests,
        "experts": read_contributions(run / "evaluation" / "experts.json"),
        "docids": read_optional(run / "docids" / "report.json"),
        "docid_figure": figure if (run / figure).exists() else None,
        "curves": [(label, path) for label, path in curves.items() if (run / path).exists()],
        "stages": stages,
        "versions": last.get("versions", {}),
    }


def load_tests(config: Config, values: Sequence[MeasureValue]) -> list[dict[str, Any]]:
    """Load the test results of RUN/comparison; if they do not belong to `values`, print a note and return none."""
    rows = read_optional(config.run_folder / "comparison" / "comparison.json") or []
    expected: dict[tuple[str, str, str, str], float] = {}
    for split, measure in product(config.search.splits, config.evaluate.measures):
        runs = group_by_run(values, split, measure)
        means = {run: fmean(runs[run].values()) for run in runs}
        expected |= {(split, measure, a, b): means[b] - means[a] for a, b in combinations(runs, 2)}
    found = {(row["split"], row["measure"], row["a"], row["b"]): row["difference"] for row in rows}
    if found.keys() == expected.keys() and all(math.isclose(found[x], expected[x], abs_tol=1e-9) for x in found):
        return rows
    print_note(
        "the report has no significance tests, since comparison/ is missing or belongs to another "
        f"evaluation; run: genir compare {config.run_folder}, then report again"
    )
    return []


def describe_method(config: Config) -> str:
    """Describe the docids, the model and the training stages in three short sentences."""
    settings = config.docids.model_dump()
    shape = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "builder")
    model = config.model.pretrained or f"T5 from scratch ({config.model.size})"
    stages = f"sft (at most {sum(phase.steps for phase in config.sft.phases):,} steps)"
    refined = [f"{name} ({getattr(config, name).loss})" for name in config.training_stages[1:]]
    docids = f"{settings['builder']} ({shape})" if shape else settings["builder"]
    return f"Docids: {docids}. Model: {model}. Training: {', then '.join([stages, *refined])}."


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (key, value) pairs of a nested mapping as texts; nested keys and the items of lists are joined by commas.

    Values that are None are omitted. prefix: the keys that lead to `values`.
    """
    for key, value in values.items():
        name = f"{prefix}, {key}" if prefix else str(key)
        if isinstance(value, Mapping):
            yield from flatten(value, name)
        elif value is not None:
            yield name, ", ".join(map(format_number, value)) if isinstance(value, list) else format_number(value)


def format_number(value: Any) -> str:
    """Format an int with thousands separators, a float with four significant digits, and anything else with str."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def collect_split(
    config: Config,
    name: str,
    runs: Mapping[str, Any],
    values: Sequence[MeasureValue],
    tests: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Collect the data that the report shows for one split: its headline, the rows of its table, and its examples.

    runs: run -> measure -> part of the queries -> the fields of an Interval. tests: the rows that `load_tests` returns.
    """
    first = next(iter(runs))
    last = next((stage for stage in reversed(config.training_stages) if stage in runs), first)
    different = {
        (test["b"], test["measure"])
        for test in tests
        if test["split"] == name and test["a"] == first and test["p_holm"] < 0.05
    }
    certificates = read_optional(config.run_folder / "evaluation" / "certificates.json") or {}
    shares = {run: f"{share:.1%}" for run, share in certificates.get(name, {}).items()}
    figures = {key: f"figures/{key}.{name}.png" for key in ("measures", "gains")}
    existing = {key: path for key, path in figures.items() if (config.run_folder / path).exists()}
    return {
        "name": name,
        "headline": compose_headline(name, config.sft.metric, runs, last, first, tests),
        "first": first,
        "run": last,
        "certified": bool(shares),
        "rows": [row for run in runs for row in list_rows(runs[run], run, config, different, shares.get(run, ""))],
        "measures_figure": existing.get("measures"),
        "gains_figure": existing.get("gains"),
        "examples": collect_examples(config, name, first, last, values) if last != first else [],
    }


def list_rows(
    values: Mapping[str, Any], run: str, config: Config, different: set[tuple[str, str]], share: str
) -> Iterator[dict[str, Any]]:
    """Yield the table rows of one run: for all queries and, if the split has both kinds, for seen and for unseen ones.

    values: measure -> part of the queries -> the fields of an Interval. different: the (run, measure) pairs that differ
    significantly from the first run. share: the formatted share of certified queries.
    """
    measures = config.evaluate.measures
    parts = [part for part in ("all", "seen", "unseen") if part in values[measures[0]]]
    for part in parts if len(parts) == 3 else ["all"]:
        is_all = part == "all"  # tests and certificates refer to all queries
        yield {
            "run": run,
            "part": part,
            "queries": values[measures[0]][part]["queries"],
            "cells": [values[name][part] | {"significant": is_all and (run, name) in different} for name in measures],
            "certified": share if is_all else "",
        }


def collect_examples(
    config: Config, split: str, first: str, last: str, values: Sequence[MeasureValue]
) -> list[tuple[str, list[Any]]]:
    """Collect the queries with the largest gains and losses of the run `last` over `first`, with the top hits of both.

    Returns (title, queries) pairs.
    """
    data = PreparedCollection(config.run_folder / "collection")
    value_of = group_by_run(values, split, config.sft.metric)
    gain = {query: value_of[last][query] - value_of[first][query] for query in value_of[first]}
    won = [query for query in sorted(gain, key=lambda query: -gain[query])[:EXAMPLES] if gain[query] > 0]
    lost = [query for query in sorted(gain, key=lambda query: gain[query])[:EXAMPLES] if gain[query] < 0]
    judged = qrels(data.judgments(split))
    found = {run: read_top_hits(config.run_folder, run, split, [*won, *lost]) for run in (last, first)}
    relevant = {query: [d for d, grade in judged[query].items() if grade > 0][:HITS] for query in [*won, *lost]}
    shown = [doc_ids for by_query in (*found.values(), relevant) for doc_ids in by_query.values()]
    titles = find_titles(data, {doc_id for doc_ids in shown for doc_id in doc_ids})
    texts = {query.id: query.text for query in data.queries(split)}

    def collect(query: str) -> dict[str, Any]:
        sides = [
            {
                "value": value_of[run][query],
                "hits": [{"title": titles[d], "relevant": judged[query].get(d, 0) > 0} for d in found[run][query]],
            }
            for run in (last, first)
        ]
        return {"text": texts[query], "relevant": [titles[d] for d in relevant[query]], "sides": sides}

    parts = ((f"Largest gains of {last} over {first}", won), (f"Largest losses of {last} against {first}", lost))
    return [(title, [collect(query) for query in queries]) for title, queries in parts if queries]


def read_top_hits(folder: Path, run: str, split: str, queries: Sequence[str]) -> dict[str, list[str]]:
    """Read the first HITS doc_ids of each query from the run file of a training stage or of the baseline."""
    path = folder / "runs" / f"{run}.{split}.trec"
    ranked = read_run(path if path.exists() else folder / "baseline" / path.name)
    return {query: sorted(ranked.get(query, {}), key=lambda d: -ranked[query][d])[:HITS] for query in queries}


def find_titles(data: PreparedCollection, wanted: set[str]) -> dict[str, str]:
    """Map doc_ids to "doc_id title", with the first words of the text in place of a missing title."""
    titles = {}
    for document in data.documents:
        if document.id in wanted:
            words = document.title or " ".join(document.text.split()[:TITLE_WORDS])
            titles[document.id] = f"{document.id} {words}".strip()
    return titles


def render(template: str, page: Mapping[str, Any], image: Callable[[str], str] = str) -> str:
    """Render a template of eval/templates; image: path of a figure in the run folder -> its address in the output."""
    folder = Path(__file__).resolve().parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"text": escape_markdown, "value": format_value, "tex": escape_tex}
    return environment.get_template(template).render(page, image=image) + "\n"


def escape_markdown(text: Any) -> str:
    """Escape a text so that Markdown shows it literally, even within a table."""
    words = make_printable(" ".join(str(text).split()))
    return (
        re.sub(r"([\\`*_\[\]])", r"\\\1", html.escape(words, quote=False)).replace("|", "&#124;").replace("$", "&#36;")
    )


def escape_tex(text: Any) -> str:
    """Escape a name so that LaTeX shows it literally."""
    return re.sub(r"[\\&%$#_{}~^<>|]", lambda found: TEX.get(found[0], f"\\{found[0]}"), make_printable(str(text)))


def data_uri(path: Path) -> str:
    """Encode a PNG file as a data URI, so that the HTML page contains its figures."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def read_optional(path: Path) -> Any:
    """Read a JSON file; return None if it does not exist."""
    return read_json(path) if path.exists() else None


STAGE = Stage(
    "report",
    settings=("evaluate", "sft.metric", "search.splits", "ddro", "irpo"),
    reads=("collection", "docids?", "baseline", "runs", "evaluation", "comparison?", "figures?"),
    writes=("report",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

"""report: what a run found, as Markdown, as one self-contained HTML page, and as a LaTeX table for a paper."""

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
from genir.console import console
from genir.evaluation.protocol_card import read_card
from genir.evaluation.results import Value, by_run, load_run_values
from genir.evaluation.trec import qrels, read_run
from genir.files import atomic_file, atomic_folder, read_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage

EXAMPLES = 5  # best and worst queries of a split
HITS = 3  # of each run for such a query
TITLE_WORDS = 12  # of the text, for a document without a title


def main(config: Config) -> None:
    """Write report/report.md, report.html (its figures inside) and results.tex.

    The protocol card, measures with intervals and significance, seen and unseen documents apart, the docid report, the
    training curves, and the queries that the last training stage wins and loses most against the first run (BM25), with
    the top hits of both. What a run has not got is left out.
    """
    run = config.run_folder
    page = contents(config)
    with atomic_folder(run / "report") as folder:
        text = render("report.md.j2", page, lambda path: f"../{path}")
        with atomic_file(folder / "report.md") as handle:
            handle.write(text)
        inside = render("report.md.j2", page, lambda path: data_uri(run / path))
        body = markdown.markdown(inside, extensions=["tables"])
        with atomic_file(folder / "report.html") as handle:
            handle.write(render("page.html.j2", {"name": config.name, "body": body}))
        with atomic_file(folder / "results.tex") as handle:
            handle.write(render("results.tex.j2", page))
    console.print(f"{run / 'report'}: report.md, report.html, results.tex")


def contents(config: Config) -> dict[str, Any]:
    """Everything that the templates show."""
    run = config.run_folder
    values = load_run_values(config, run)
    tests = own_tests(config, values)
    summary = read_json(run / "evaluation" / "measures.json")
    stages = {name: record for name, record in (optional(run / "stage.json") or {}).items() if name != STAGE.name}
    last = stages[list(stages)[-1]] if stages else {}
    curves = {"Training: loss and dev measure": "figures/training.png"}
    curves |= {f"Refinement {name}": f"figures/{name}.png" for name in config.training_stages[1:]}
    figure = "docids/report.png"
    return {
        "name": config.name,
        "method": method(config),
        "metric": config.sft.metric,
        "measures": config.evaluate.measures,
        "seed": config.seed,
        "card": list(flattened(read_card(run))),
        "splits": [split(config, name, summary[name], values, tests) for name in config.search.splits],
        "tests": tests,
        "docids": optional(run / "docids" / "report.json"),
        "docid_figure": figure if (run / figure).exists() else None,
        "curves": [(label, path) for label, path in curves.items() if (run / path).exists()],
        "stages": stages,
        "versions": last.get("versions", {}),
    }


def own_tests(config: Config, values: Sequence[Value]) -> list[dict[str, Any]]:
    """The rows of comparison/ if they are of these very values; else none, and a line says so."""
    rows = optional(config.run_folder / "comparison" / "comparison.json") or []
    wanted = {}
    for name, measure in product(config.search.splits, config.evaluate.measures):
        runs = by_run(values, name, measure)
        means = {run: fmean(runs[run].values()) for run in runs}
        wanted |= {(name, measure, a, b): means[b] - means[a] for a, b in combinations(runs, 2)}
    found = {(row["split"], row["measure"], row["a"], row["b"]): row["difference"] for row in rows}
    if found.keys() == wanted.keys() and all(math.isclose(found[x], wanted[x], abs_tol=1e-9) for x in found):
        return rows
    console.print(
        f"[yellow]note:[/] no significance, since there is no comparison/ of this evaluation; "
        f"run: genir compare {config.run_folder}, then report again"
    )
    return []


def method(config: Config) -> str:
    """The experiment in a sentence."""
    settings = config.docids.model_dump()
    shape = ", ".join(f"{key} {value}" for key, value in settings.items() if key != "builder")
    model = config.model.pretrained or f"T5 from scratch ({config.model.size})"
    stages = f"sft ({sum(stage.steps for stage in config.sft.phases):,} steps at most)"
    refined = [f"{name} ({getattr(config, name).loss})" for name in config.training_stages[1:]]
    docids = f"{settings['builder']} ({shape})" if shape else settings["builder"]
    return f"Docids: {docids}. Model: {model}. Training: {', then '.join([stages, *refined])}."


def flattened(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """Nested keys joined by a comma; lists by commas too."""
    for key, value in values.items():
        name = f"{above}, {key}" if above else str(key)
        if isinstance(value, Mapping):
            yield from flattened(value, name)
        elif value is not None:
            yield name, ", ".join(map(number, value)) if isinstance(value, list) else number(value)


def number(value: Any) -> str:
    """A count with its thousands apart, a share with four figures, anything else as it stands."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def split(
    config: Config, name: str, runs: Mapping[str, Any], values: Sequence[Value], tests: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """One split: a row a run (and a part of the queries), and the queries won and lost."""
    first = next(iter(runs))
    last = next((stage for stage in reversed(config.training_stages) if stage in runs), first)
    different = {
        (row["b"], row["measure"])
        for row in tests
        if row["split"] == name and row["a"] == first and row["p_holm"] < 0.05
    }
    shares = {run: certified(config.run_folder, run, name) for run in runs}
    figures = {key: f"figures/{key}.{name}.png" for key in ("measures", "gains")}
    return {
        "name": name,
        "first": first,
        "run": last,
        "certified": any(shares.values()),
        "rows": [row for run in runs for row in rows(runs[run], run, config, different, shares[run])],
        "figure": figures["measures"] if (config.run_folder / figures["measures"]).exists() else None,
        "gains": figures["gains"] if (config.run_folder / figures["gains"]).exists() else None,
        "examples": examples(config, name, first, last, values) if last != first else [],
    }


def rows(
    values: Mapping[str, Any], run: str, config: Config, different: set[tuple[str, str]], share: str
) -> Iterator[dict[str, Any]]:
    """All queries; where there are both kinds, seen and unseen ones too."""
    measures = config.evaluate.measures
    parts = [part for part in ("all", "seen", "unseen") if part in values[measures[0]]]
    for part in parts if len(parts) == 3 else ["all"]:
        significant = part == "all"
        yield {
            "run": run,
            "part": part,
            "queries": values[measures[0]][part]["queries"],
            "cells": [
                values[name][part] | {"significant": significant and (run, name) in different} for name in measures
            ],
            "certified": share if part == "all" else "",
        }


def certified(folder: Path, run: str, split: str) -> str:
    """The share of queries whose hits are proven to be the model's best; nothing for other runs, such as BM25."""
    found = (optional(folder / "evaluation" / "certificates.json") or {}).get(split, {})
    return f"{found[run]:.1%}" if run in found else ""


def examples(config: Config, split: str, first: str, last: str, values: Sequence[Value]) -> list[tuple[str, list[Any]]]:
    """The queries with the largest gain and the largest loss of the last run over the first, with both top hits."""
    data = PreparedCollection(config.run_folder / "collection")
    load_run_values = by_run(values, split, config.sft.metric)
    gain = {query: load_run_values[last][query] - load_run_values[first][query] for query in load_run_values[first]}
    won = [query for query in sorted(gain, key=lambda query: -gain[query])[:EXAMPLES] if gain[query] > 0]
    lost = [query for query in sorted(gain, key=lambda query: gain[query])[:EXAMPLES] if gain[query] < 0]
    judged = qrels(data.judgments(split))
    found = {run: best_hits(config.run_folder, run, split, [*won, *lost]) for run in (last, first)}
    good = {query: [d for d, grade in judged[query].items() if grade > 0][:HITS] for query in [*won, *lost]}
    hits = [hit for by_query in found.values() for some in by_query.values() for hit in some]
    titles = titles_of(data, {*hits, *(document for some in good.values() for document in some)})
    texts = {query.id: query.text for query in data.queries(split)}

    def shown(query: str) -> dict[str, Any]:
        sides = [
            {
                "value": load_run_values[run][query],
                "hits": [{"title": titles[d], "relevant": judged[query].get(d, 0) > 0} for d in found[run][query]],
            }
            for run in (last, first)
        ]
        return {"text": texts[query], "relevant": [titles[d] for d in good[query]], "sides": sides}

    parts = ((f"Queries where {last} wins most over {first}", won), (f"Queries where {last} loses most", lost))
    return [(title, [shown(query) for query in queries]) for title, queries in parts if queries]


def best_hits(folder: Path, run: str, split: str, queries: Sequence[str]) -> dict[str, list[str]]:
    """The first documents of a run file for some queries."""
    path = folder / "runs" / f"{run}.{split}.trec"
    ranked = read_run(path if path.exists() else folder / "baseline" / path.name)
    return {query: sorted(ranked.get(query, {}), key=lambda d: -ranked[query][d])[:HITS] for query in queries}


def titles_of(data: PreparedCollection, wanted: set[str]) -> dict[str, str]:
    """doc_id and title of some documents; the first words of one without a title."""
    titles = {}
    for document in data.documents:
        if document.id in wanted:
            words = document.title or " ".join(document.text.split()[:TITLE_WORDS])
            titles[document.id] = f"{document.id} {words}".strip()
    return titles


def render(template: str, page: Mapping[str, Any], image: Callable[[str], str] = str) -> str:
    """A template of eval/templates, filled in."""
    folder = Path(__file__).resolve().parent / "templates"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"text": escape, "figure": figure, "tex": tex}
    return environment.get_template(template).render(page, image=image) + "\n"


def escape(text: Any) -> str:
    """Any text as Markdown that shows just that, in a table too."""
    words = " ".join(str(text).split())
    return re.sub(r"([\\`*_\[\]])", r"\\\1", html.escape(words, quote=False)).replace("|", "&#124;")


def tex(text: str) -> str:
    """A name as LaTeX that shows just that."""
    return re.sub(r"([&%$#_{}])", r"\\\1", text.replace("\\", "/"))


def figure(value: float) -> str:
    """.123, as tables of measures are printed."""
    return "" if math.isnan(value) else f"{value:.3f}".removeprefix("0")


def data_uri(path: Path) -> str:
    """A figure as part of the page."""
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def optional(path: Path) -> Any:
    """A JSON file, or None where there is none."""
    return read_json(path) if path.exists() else None


STAGE = Stage(
    "report",
    settings=("evaluate", "sft.metric", "search.splits", "ddro", "irpo"),
    reads=("collection", "docids?", "baseline", "runs", "evaluation", "comparison?", "figures?"),
    writes=("report",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

"""certify: for which share of the queries is a beam width provably enough?"""

import time
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import typer
from rich.table import Table

from genir.collection.prepared import PreparedCollection
from genir.config import Config, load_config
from genir.console import console
from genir.files import atomic_file, write_json
from genir.pipeline.command import ConfigArgument, OverridesArgument, run_command
from genir.records import Hits
from genir.retriever import Retriever

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt


def certify(config: Config, split: str, k: int, widths: list[int], compare: bool) -> list[dict[str, Any]]:
    """One row a width: share of certified queries, milliseconds a query, and, where the exact search is made too, the
    share of queries whose hits are the exact ones and of the exact hits that were found.
    """
    texts = [query.text for query in PreparedCollection(config.run_folder / "collection").queries(split)]
    retriever = Retriever.from_pretrained(config.run_folder)
    truth: list[Hits] = []
    rows: list[dict[str, Any]] = []
    for width in [*widths, *(["exact"] if compare else [])][::-1]:
        exact = width == "exact"
        started = time.perf_counter()
        found = retriever.search_many(
            texts, k, max(widths) if exact else int(width), batch_size=config.search.batch_size, show_progress=True,
            exact=exact,
        )  # fmt: skip
        each = (time.perf_counter() - started) / len(texts) * 1000
        rows.insert(0, {"beams": width, "certified": share(hits.exact for hits in found), "ms": each})
        truth = found if exact else truth
        if truth:
            pairs = [([hit.doc_id for hit in a], {hit.doc_id for hit in b}) for a, b in zip(found, truth, strict=True)]
            rows[0] |= {
                "same": share(set(a) == b for a, b in pairs),
                "found": sum(len(b.intersection(a)) for a, b in pairs) / sum(len(b) for _, b in pairs),
            }
    return rows


def share(flags: Any) -> float:
    """Of those that are true."""
    values = [bool(flag) for flag in flags]
    return sum(values) / len(values)


def table(rows: list[dict[str, Any]], title: str) -> Table:
    """One line a width."""
    shown = Table(title=title, title_justify="left")
    names = {"beams": "beams", "certified": "certified exact", "same": "same hits", "found": "hits found", "ms": "ms"}
    for name in rows[0]:
        shown.add_column(names[name], justify="right")
    for row in rows:
        cells = (f"{x:.1f}" if name == "ms" else f"{x:.1%}" if name != "beams" else str(x) for name, x in row.items())
        shown.add_row(*cells)
    return shown


def draw(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Shares over widths."""
    rows = [row for row in rows if row["beams"] != "exact"]
    figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
    lines = {"certified": "proven to be the model's best", "same": "the model's best", "found": "hits among them"}
    for name, label in lines.items():
        if name in rows[0]:
            axes.plot([row["beams"] for row in rows], [row[name] for row in rows], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_xticks([row["beams"] for row in rows], [str(row["beams"]) for row in rows])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="beams", ylabel="share of queries", ylim=(0, 1.03), title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path, "wb") as handle:
        figure.savefig(handle, dpi=120)
    plt.close(figure)


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    split: Annotated[str, typer.Option(help="Whose queries.")] = "dev",
    k: Annotated[int, typer.Option(help="Hits asked for.", min=1)] = 10,
    beams: Annotated[list[int] | None, typer.Option(help="A width; can be given several times.", min=1)] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Search exactly too, and tell what each lost.")] = False,
) -> None:
    """Tell how often a beam width is provably enough.

    A search is certified when everything its beams left out scores below its k-th hit, so that no more beams could
    change the hits. Default widths: 10, 30, 100 and 300. Writes RUN/certificates/SPLIT.json and SPLIT.png.
    """
    settings = load_config(config, overrides or [])
    rows = certify(settings, split, k, sorted(beams or [10, 30, 100, 300]), compare)
    title = f"{settings.name}, {split}: top {k}"
    folder = settings.run_folder / "certificates"
    write_json(folder / f"{split}.json", rows)
    draw(rows, title, folder / f"{split}.png")
    console.print(table(rows, title))


if __name__ == "__main__":
    run_command(command, "certify")

"""certify: compute for what share of the queries a beam size is proven to be sufficient."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import time
from collections.abc import Iterable
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
from genir.processes import require_single_process
from genir.records import Hits
from genir.retriever import Retriever

matplotlib.use("Agg")  # the back end that writes files and needs no display
from matplotlib import pyplot as plt

plt.rcParams["text.parse_math"] = False  # a $ in the name of an experiment is a $


def certify(config: Config, split: str, k: int, widths: list[int], compare: bool) -> list[dict[str, Any]]:
    """Search a split with each of the beam sizes `widths`, and return a row of results for each in the same order.

    A row contains "beams", "certified" (share of queries whose k hits are proven to be the model's best documents) and
    "ms" (milliseconds per query). If `compare` is true, an exact search is run as well: its row comes last and has the
    value "exact" for "beams", and each row also contains "same" (share of queries whose hits are the same documents as
    those of the exact search) and "found" (share of the hits of the exact search that were found).
    """
    texts = [query.text for query in PreparedCollection(config.run_folder / "collection").queries(split)]
    retriever = Retriever.from_pretrained(config.run_folder)

    def search(beams: int, exact: bool) -> tuple[list[Hits], dict[str, Any]]:
        started = time.perf_counter()
        hits = retriever.search_many(
            texts, k, beams, batch_size=config.search.batch_size, show_progress=True, exact=exact
        )
        ms = (time.perf_counter() - started) / len(texts) * 1000
        return hits, {"beams": "exact" if exact else beams, "certified": compute_share(x.exact for x in hits), "ms": ms}

    if not compare:
        return [search(width, exact=False)[1] for width in widths]
    truth, last = search(max(widths), exact=True)
    rows = []
    for width in widths:
        hits, row = search(width, exact=False)
        rows.append(row | compare_hits(hits, truth))
    return [*rows, last | compare_hits(truth, truth)]


def compare_hits(found: list[Hits], truth: list[Hits]) -> dict[str, float]:
    """Compare the hits of each query, as sets of documents, with those of the exact search, `truth`."""
    pairs = [({hit.doc_id for hit in a}, {hit.doc_id for hit in b}) for a, b in zip(found, truth, strict=True)]
    return {
        "same": compute_share(a == b for a, b in pairs),
        "found": sum(len(a & b) for a, b in pairs) / sum(len(b) for _, b in pairs),
    }


def compute_share(flags: Iterable[bool]) -> float:
    """Compute the share of the flags that are true."""
    values = list(flags)
    return sum(values) / len(values)


def make_table(rows: list[dict[str, Any]], title: str) -> Table:
    """Make a table with one line per beam size."""
    table = Table(title=title, title_justify="left")
    names = {"beams": "beams", "certified": "certified", "same": "same hits", "found": "hits found", "ms": "ms"}
    for name in rows[0]:
        table.add_column(names[name], justify="right")
    for row in rows:
        cells = (f"{x:.1f}" if name == "ms" else f"{x:.1%}" if name != "beams" else str(x) for name, x in row.items())
        table.add_row(*cells)
    return table


def plot_shares(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Draw the shares as curves over the beam sizes."""
    rows = [row for row in rows if row["beams"] != "exact"]
    figure, axes = plt.subplots(figsize=(6, 3.8), layout="constrained")
    lines = {
        "certified": "queries whose hits are proven to be the model's best",
        "same": "queries whose hits are the model's best",
        "found": "hits of the exact search that are found",
    }
    for name, label in lines.items():
        if name in rows[0]:
            axes.plot([row["beams"] for row in rows], [row[name] for row in rows], marker="o", label=label)
    axes.set_xscale("log")
    axes.set_xticks([row["beams"] for row in rows], [str(row["beams"]) for row in rows])
    axes.set_xticks([], minor=True)
    axes.set(xlabel="beams", ylabel="share", ylim=(0, 1.03), title=title)
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_file(path, "wb") as handle:
        figure.savefig(handle, dpi=120)
    plt.close(figure)


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    split: Annotated[str, typer.Option(help="Split whose queries are searched.")] = "dev",
    k: Annotated[int, typer.Option(help="Number of documents retrieved for each query.", min=1)] = 10,
    beams: Annotated[list[int] | None, typer.Option(help="A beam size; can be given several times.", min=1)] = None,
    compare: Annotated[
        bool,
        typer.Option(
            "--compare", help="Run an exact search too, and show what share of its hits each beam size finds."
        ),
    ] = False,
) -> None:
    """Show for what share of the queries a beam size is proven to be sufficient.

    A search is certified if every document that its beams did not reach is proven to score below its k-th hit, so that
    more beams could not change the hits. The default beam sizes are 10, 30, 100 and 300. Writes
    RUN/certificates/SPLIT.json and RUN/certificates/SPLIT.png.
    """
    require_single_process()
    settings = load_config(config, overrides or [])
    rows = certify(settings, split, k, sorted(beams or [10, 30, 100, 300]), compare)
    title = f"{settings.name}, {split}: top {k}"
    folder = settings.run_folder / "certificates"
    write_json(folder / f"{split}.json", rows)
    plot_shares(rows, title, folder / f"{split}.png")
    console.print(make_table(rows, title))


if __name__ == "__main__":
    run_command(command, "certify")

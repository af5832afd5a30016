"""docids: give every document a docid, and say what the docids are worth."""

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from rich.table import Table

from genir.command import run_stage
from genir.config import Config
from genir.console import console
from genir.docids import BUILDERS, DocidTable
from genir.docids.report import report
from genir.files import write_json
from genir.prepared import DocumentFile
from genir.stage import Stage

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt


def main(config: Config) -> None:
    """Build docids/: the table (doc_id <-> docid), its vocabulary layout, the codebooks and a report with a figure.

    docids.builder: atomic (one code a document), pq (product quantisation of the vectors) or rq (residual
    quantisation), both of levels x codes; documents that would share a docid get one more level. The report warns when
    training would be wasted.
    """
    documents = DocumentFile(config.run / "collection" / "corpus.jsonl")
    settings = config.docids.model_dump()
    vectors = np.load(config.run / "embeddings.npy", allow_pickle=False)
    built = BUILDERS[config.docids.builder].build(len(documents), vectors, settings, config.seed)
    doc_ids, titles = zip(*((document.id, document.title) for document in documents), strict=True)
    about = settings | {"embedder": config.embed.method, "seed": config.seed}
    table = DocidTable(doc_ids, titles, built.codes, built.sizes, about, built.codebooks)
    figures = report(table, settings.get("levels", 1), vectors, config.seed)
    folder = config.run / "docids"
    table.save(folder)
    write_json(folder / "report.json", figures)
    draw(figures, folder / "report.png")
    show(figures)


def show(figures: dict[str, Any]) -> None:
    """The report as a table, and its warnings."""
    shown = Table(
        title=f"{figures['documents']:,} documents, {figures['unique_share']:.1%} with a docid of their own",
        title_justify="left",
    )
    for name in ("level", "codes used", "entropy", "children of a prefix", "documents unique from here"):
        shown.add_column(name, justify="right")
    for number, level in enumerate(figures["levels"], 1):
        entropy = f"{level['entropy_bits']:.2f} of {np.log2(level['codes']):.2f} bits"
        unique = figures["unique_depth"][number - 1] / figures["documents"]
        shown.add_row(
            str(number), f"{level['used']} of {level['codes']}", entropy, f"{level['branching']:.1f}", f"{unique:.1%}"
        )
    console.print(shown)
    for row in figures["shared_prefix"]:
        console.print(f"prefix shared with neighbours {row['neighbours']}: {row['shared']:.2f} codes")
    for warning in figures["warnings"]:
        console.print(f"[yellow]warning:[/] {warning}")


def draw(figures: dict[str, Any], path: Path) -> None:
    """Code use by level, where docids become unique, and the prefix shared with near and far documents."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    numbers = np.arange(1, len(figures["levels"]) + 1)
    left.bar(numbers, [level["used"] / level["codes"] for level in figures["levels"]])
    left.set(xlabel="level", ylabel="share of codes used", ylim=(0, 1), xticks=numbers)
    labels = [*map(str, numbers), "never"]
    middle.bar(labels, np.array(figures["unique_depth"]) / figures["documents"])
    middle.set(xlabel="codes until the docid is unique", ylabel="share of documents")
    rows = figures["shared_prefix"]
    right.bar([row["neighbours"] for row in rows], [row["shared"] for row in rows])
    right.set(xlabel="neighbours by vector", ylabel="mean shared prefix")
    figure.savefig(path, dpi=120)
    plt.close(figure)


STAGE = Stage("docids", settings=("docids",), reads=("collection", "embeddings.npy"), writes=("docids",))

if __name__ == "__main__":
    run_stage(STAGE, main)

"""docids: give every document a docid, and say what the docids are worth."""

import shutil
from pathlib import Path
from typing import Annotated, Any

import matplotlib
import numpy as np
import typer
from rich.table import Table

from genir.collection.beir import read_documents
from genir.collection.prepared import DocumentFile
from genir.config import Config, load_config
from genir.console import console
from genir.decoding.trie import Trie
from genir.docids import BUILDERS, DocidTable, Source
from genir.docids.assign import build_docids
from genir.docids.report import report
from genir.embedders import own_vectors
from genir.errors import GenirError
from genir.files import atomic_folder, folder_lock, numbered_lines, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.retriever import Retriever, retriever_folder
from genir.tokenizer import docid_tokenizer

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

MOST_LEVELS = 12  # shown in the terminal


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    add: Annotated[Path | None, typer.Option(metavar="FILE", help="Add its documents to a trained retriever.")] = None,
    vectors: Annotated[Path | None, typer.Option(metavar="FILE", help="With --add: their vectors, a .npy.")] = None,
    remove: Annotated[Path | None, typer.Option(metavar="FILE", help="Remove its doc_ids from the retriever.")] = None,
    force: ForceOption = False,
) -> None:
    """Build docids/: the table (doc_id <-> docid), its vocabulary layout, the codebooks, the trie, and a report with a
    figure.

    docids.builder: atomic (one code a document), kmeans (hierarchical clusters), pq and rq (product and residual
    quantisation of the vectors), rqvae (a residual-quantised autoencoder) or text (titles, urls, keywords).
    docids.collisions says what becomes of documents with the same codes. The report warns when training would be
    wasted.

    With --add or --remove, CONFIG is a run or retriever folder whose trained retriever is changed, without training:
    --add takes a corpus.jsonl (_id, title, text, url), --remove a file with one doc_id a line.
    """
    if add is None and remove is None:
        execute(STAGE, main, load_config(config, overrides or []), force)
        return
    if overrides:
        raise GenirError(f"{overrides[0]}: --add and --remove change a trained retriever, whose settings are fixed")
    folder = retriever_folder(config)
    with folder_lock(folder.parent):  # in a run folder, no stage either
        retriever = Retriever.from_pretrained(folder)
        before = len(retriever.table)
        if remove is not None:
            retriever.remove([text.strip() for _, text in numbered_lines(remove) if text.strip()])
        if add is not None:
            documents = list(read_documents(add))
            own = None if vectors is None else np.asarray(own_vectors(vectors, len(documents)), np.float32)
            retriever.add(documents, own)
        retriever.save_pretrained(folder)
    console.print(f"{folder}: {before:,} documents before, {len(retriever.table):,} now")


def main(config: Config) -> None:
    """Build the docids of the collection and report on them."""
    documents = DocumentFile(config.run_folder / "collection" / "corpus.jsonl")
    vectors = np.load(config.run_folder / "embeddings.npy", allow_pickle=False)
    tokenizer = docid_tokenizer(config, documents) if BUILDERS[config.docids.builder].needs == "tokenizer" else None
    built, final = build_docids(Source(documents, vectors, tokenizer), config.docids, config.seed)
    doc_ids, titles = zip(*((document.id, document.title) for document in documents), strict=True)
    about = {"docids": config.docids.model_dump(), "seed": config.seed}
    table = DocidTable(doc_ids, titles, *final[:2], about, final.codebooks, text=tokenizer is not None)
    figures = report(table, built.codes, vectors, config.seed)
    with atomic_folder(config.run_folder / "docids") as folder:
        table.save(folder)
        Trie.from_codes(table.codes).save(folder / "trie.safetensors")
        if (config.run_folder / "embedder").exists():
            shutil.copytree(config.run_folder / "embedder", folder / "embedder")
        if tokenizer is not None:
            tokenizer.save_pretrained(folder / "tokenizer")
        write_json(folder / "report.json", figures)
        draw(figures, folder / "report.png")
    show(figures)


def show(figures: dict[str, Any]) -> None:
    """The report as a table, and its warnings."""
    shown = Table(
        title=f"{figures['documents']:,} documents, {figures['unique_share']:.1%} with a docid of their own",
        title_justify="left",
    )
    for name in (
        "level",
        "documents",
        "codes used",
        "entropy, bits",
        "children of a prefix",
        "documents unique from here",
    ):
        shown.add_column(name, justify="right")
    for number, level in enumerate(figures["levels"][:MOST_LEVELS], 1):
        entropy = f"{level['entropy_bits']:.2f} of {np.log2(level['codes']):.2f}"
        unique = f"{figures['unique_depth'][number - 1] / figures['documents']:.1%}"
        used = f"{level['used']:,} of {level['codes']:,}"
        shown.add_row(str(number), f"{level['documents']:,}", used, entropy, f"{level['branching']:.1f}", unique)
    console.print(shown)
    if len(figures["levels"]) > MOST_LEVELS:
        console.print(f"and {len(figures['levels']) - MOST_LEVELS} more levels; all are in docids/report.json")
    console.print(
        f"before collisions were resolved ({figures['collisions']}): {figures['unique_share_before_collisions']:.1%} "
        f"unique, {figures['collision_groups']:,} groups, the largest of {figures['largest_collision']:,} documents"
    )
    for row in figures["shared_prefix"]:
        console.print(f"prefix shared with neighbours {row['neighbours']}: {row['shared']:.2f} codes")
    for warning in figures["warnings"]:
        console.print(f"[yellow]warning:[/] {warning}")


def draw(figures: dict[str, Any], path: Path) -> None:
    """Code use by level, lengths and where docids become unique, the prefix shared with near and far documents."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    numbers = np.arange(1, len(figures["levels"]) + 1)
    left.bar(numbers, [level["used"] / level["codes"] for level in figures["levels"]])
    left.set(xlabel="level", ylabel="share of codes used", ylim=(0, 1))
    count = figures["documents"]
    depth = np.array(figures["unique_depth"]) / count
    middle.bar(np.arange(1, len(depth) + 1), depth, label="codes until the docid is unique")
    lengths = np.array(figures["lengths"]) / count
    middle.step(np.arange(len(lengths)), lengths, where="mid", color="tab:orange", label="codes of the docid")
    middle.set(xlabel="codes", ylabel="share of documents")
    middle.legend()
    rows = figures["shared_prefix"]
    right.bar([row["neighbours"] for row in rows], [row["shared"] for row in rows])
    right.set(xlabel="neighbours by vector", ylabel="mean shared prefix")
    for axes in (left, middle):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
    plt.close(figure)


STAGE = Stage(
    "docids",
    settings=("docids", "model.tokenizer", "model.pretrained", "model.vocab_size"),
    reads=("collection", "embeddings.npy", "embedder?"),
    writes=("docids",),
)

if __name__ == "__main__":
    run_command(command, STAGE.name, ("docids",))

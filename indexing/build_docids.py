"""docids: assign a docid to every document, and report on the quality of the docids."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

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
from genir.console import console, print_warning
from genir.docids import BUILDERS, BuilderInput, DocidTable
from genir.docids.assign import build_docids
from genir.docids.report import make_report
from genir.docids.trie import Trie
from genir.embedders import load_vectors, require_finite_vectors
from genir.errors import GenirError, error_at
from genir.files import atomic_folder, folder_lock, numbered_lines, remove_leftovers, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.processes import require_single_process
from genir.retriever import Retriever, find_retriever
from genir.tokenizer import choose_docid_tokenizer, save_tokenizer
from genir.words import find_terms

matplotlib.use("Agg")  # the back end that writes files and needs no display
from matplotlib import pyplot as plt
from matplotlib.ticker import MaxNLocator

PRINTED_LEVELS = 12
"""Number of levels that the printed table shows; docids/report.json has all of them."""


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    add: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Add the documents of FILE to a trained retriever.")
    ] = None,
    vectors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --add: a .npy file with the vectors of the documents.")
    ] = None,
    remove: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Remove the documents that FILE lists from a trained retriever.")
    ] = None,
    force: ForceOption = False,
) -> None:
    """Build RUN/docids: the docid table (doc_id <-> docid) with its codebooks, the trie, and a quality report.

    docids.builder is atomic (one code for each document), kmeans (hierarchical clusters), pq or rq (product or residual
    quantisation of the document vectors), rqvae (a residual-quantised autoencoder) or text (titles, urls, keywords).
    docids.collisions says what happens to documents with the same codes. The report warns if the docids are so poor
    that training would be useless.

    With --add or --remove, CONFIG is a run folder or a retriever folder, and its trained retriever is changed without
    any training. --add takes a corpus.jsonl (_id, title, text, url), --remove a file with one doc_id per line.
    """
    if vectors is not None and add is None:
        raise GenirError(
            f"--vectors {vectors}: these are the vectors of new documents; name their file with --add FILE"
        )
    if add is None and remove is None:
        execute(STAGE, main, load_config(config, overrides or []), force)
    elif overrides:
        raise GenirError(
            f"{overrides[0]}: --add and --remove change a trained retriever, whose settings are fixed; leave this "
            "setting out"
        )
    else:
        require_single_process()
        change_retriever(find_retriever(config), add, vectors, remove)


def change_retriever(folder: Path, add: Path | None, vectors: Path | None, remove: Path | None) -> None:
    """Remove documents from a trained retriever, add others, and save it.

    add: a corpus.jsonl. vectors: a .npy file with the vectors of its documents, needed only if the retriever has no
    embedder. remove: a file with one doc_id per line; these documents are removed before others are added.
    """
    with folder_lock(folder.parent):  # locks the run folder, so that no stage runs at the same time
        remove_leftovers(folder.parent, folder.name)
        retriever = Retriever.from_pretrained(folder)
        before = len(retriever.table)
        if remove is not None:
            retriever.remove(read_doc_ids(remove, retriever))
        if add is not None:
            documents = list(read_documents(add))
            array = None if vectors is None else np.asarray(load_vectors(vectors, len(documents)), np.float32)
            retriever.add(documents, array)
            without = sum(not find_terms(document.body) for document in documents)
            if without:
                print_warning(
                    f"{without:,} of the {len(documents):,} new documents have no words, so their "
                    "docids say nothing about them"
                )
        retriever.save_pretrained(folder)
    console.print(f"{folder}: {before:,} documents before, {len(retriever.table):,} documents now")


def read_doc_ids(path: Path, retriever: Retriever) -> list[str]:
    """Read the doc_ids of documents of the retriever, one per line.

    Raises GenirError for one that the retriever does not have or that is listed twice, and for a file without any.
    """
    lines: dict[str, int] = {}
    for line, text in numbered_lines(path):
        doc_id = text.strip()
        if doc_id in lines:
            raise error_at(path, line, f"document {doc_id!r} stands in line {lines[doc_id]} already")
        if doc_id:
            lines[doc_id] = line
            if doc_id not in retriever.table.doc_indices:
                raise error_at(
                    path, line, f"no document {doc_id!r} among the {len(retriever.table):,} of this retriever"
                )
    if not lines:
        raise GenirError(f"{path}: contains no doc_ids; write one per line")
    return list(lines)


def main(config: Config) -> None:
    """Build the docids of the collection, and write and print the report."""
    documents = DocumentFile(config.run_folder / "collection" / "corpus.jsonl")
    path = config.run_folder / "embeddings.npy"
    vectors = np.load(path, allow_pickle=False)
    require_finite_vectors(vectors, len(documents), str(path))
    tokenizer = (
        choose_docid_tokenizer(config, documents) if BUILDERS[config.docids.builder].needs == "tokenizer" else None
    )
    built, final = build_docids(BuilderInput(documents, vectors, tokenizer), config.docids, config.seed)
    doc_ids, titles = zip(*((document.id, document.title) for document in documents), strict=True)
    settings = {"docids": config.docids.model_dump(), "seed": config.seed}
    table = DocidTable.from_codes(final, doc_ids=doc_ids, titles=titles, settings=settings, text=tokenizer is not None)
    report = make_report(table, built.codes, vectors, config.seed)
    with atomic_folder(config.run_folder / "docids") as folder:
        table.save(folder)
        Trie.from_codes(table.codes).save(folder / "trie.safetensors")
        if (config.run_folder / "embedder").exists():
            shutil.copytree(config.run_folder / "embedder", folder / "embedder")
        if tokenizer is not None:
            save_tokenizer(tokenizer, folder / "tokenizer")
        write_json(folder / "report.json", report)
        plot_report(report, folder / "report.png")
    print_report(report)


def print_report(report: dict[str, Any]) -> None:
    """Print a docid quality report: a table of the levels, collisions, shared prefixes, and the warnings."""
    table = Table(
        title=f"{report['documents']:,} documents, {report['unique_share']:.1%} with a unique docid",
        title_justify="left",
    )
    for name in (
        "level",
        "documents",
        "codes used",
        "entropy (bits)",
        "codes after a prefix",
        "docids unique from here",
    ):
        table.add_column(name, justify="right")
    for number, level in enumerate(report["levels"][:PRINTED_LEVELS], 1):
        entropy = f"{level['entropy_bits']:.2f} of {np.log2(level['codes']):.2f}"
        unique = f"{report['unique_depth'][number - 1] / report['documents']:.1%}"
        used = f"{level['used']:,} of {level['codes']:,}"
        table.add_row(str(number), f"{level['documents']:,}", used, entropy, f"{level['branching']:.1f}", unique)
    console.print(table)
    if len(report["levels"]) > PRINTED_LEVELS:
        console.print(f"{len(report['levels']) - PRINTED_LEVELS} more levels are in docids/report.json")
    console.print(
        f"before collisions were resolved ({report['collisions']}): {report['unique_share_before_collisions']:.1%} of "
        f"the documents had a unique docid; {report['collision_groups']:,} collisions, the largest of "
        f"{report['largest_collision']:,} documents"
    )
    names = {"random": "random documents", "1-1": "the nearest neighbour"}
    for group in report["shared_prefix"]:
        name = names.get(group["neighbours"], f"nearest neighbours {group['neighbours']}")
        console.print(f"mean prefix shared with {name}: {group['shared']:.2f} codes")
    for warning in report["warnings"]:
        print_warning(warning)


def plot_report(report: dict[str, Any], path: Path) -> None:
    """Draw the use of each codebook, the lengths of docids and of their unique prefixes, and the shared prefixes."""
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(12, 3.4), layout="constrained")
    levels = np.arange(1, len(report["levels"]) + 1)
    left.bar(levels, [level["used"] / level["codes"] for level in report["levels"]])
    left.set(xlabel="level", ylabel="fraction of codes used", ylim=(0, 1))
    depths = np.array(report["unique_depth"]) / report["documents"]
    middle.bar(np.arange(1, len(depths) + 1), depths, label="shortest unique prefix")
    lengths = np.array(report["lengths"]) / report["documents"]
    middle.step(np.arange(len(lengths)), lengths, where="mid", color="tab:orange", label="whole docid")
    middle.set(xlabel="length in codes", ylabel="fraction of documents")
    middle.legend(loc="lower center", bbox_to_anchor=(0.5, 1), ncols=2, frameon=False)
    groups = report["shared_prefix"]
    names = ["1" if group["neighbours"] == "1-1" else group["neighbours"] for group in groups]
    right.bar(names, [group["shared"] for group in groups])
    right.set(xlabel="rank of the nearest neighbours", ylabel="mean shared prefix (codes)")
    for axes in (left, middle):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.savefig(path, dpi=120)
    plt.close(figure)


STAGE = Stage(
    "docids",
    settings=("docids", "model.tokenizer", "model.pretrained", "model.vocab_size"),
    external=("model.tokenizer", "model.pretrained"),
    reads=("collection", "embeddings.npy", "embedder?"),
    writes=("docids",),
)

if __name__ == "__main__":
    run_command(command, STAGE.name, ("docids",))

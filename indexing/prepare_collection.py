"""prepare: read a collection, or make a published one from its raw files, check it, and write it as a BEIR folder."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genir.collection import QRELS_HEADER, BeirCollection, Collection, open_collection
from genir.collection.download import fetch_all
from genir.collection.overlap import describe_overlap, relevant_pairs, require_other_documents
from genir.collection.prepared import DocumentFile
from genir.collection.published import check_counts, find_published, open_published
from genir.collection.sources import load_sources
from genir.collection.splits import (
    counts_before_carving,
    needs_pseudo_dev,
    read_checked_splits,
    require_search_splits,
)
from genir.config import CollectionConfig, Config, load_config
from genir.console import console, print_note, track
from genir.errors import GenirError
from genir.evaluation.protocol_card import describe_split, make_card
from genir.files import atomic_file, atomic_folder, require_space, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.processes import run_on_main
from genir.records import Judgment, Query

GZIP_RATIO = 4  # assumed ratio of the size of an unpacked corpus to that of its gzip file


def main(config: Config) -> None:
    """Read the collection of the section `collection`, check it, and write it and its card to RUN/collection."""
    settings = config.collection
    source = open_source(settings, config.run_folder)
    require_search_splits(source, config.search.splits)
    if isinstance(source, BeirCollection) and source.corpus.is_file():
        size = source.corpus.stat().st_size
        require_space(config.run_folder, size * (GZIP_RATIO if source.corpus.suffix == ".gz" else 1))
    with atomic_folder(config.run_folder / "collection") as folder:
        doc_ids = write_documents(source, folder / "corpus.jsonl")
        pseudo_dev = make_pseudo_dev(source, folder, doc_ids) if needs_pseudo_dev(source) else []
        texts = write_queries(chain(source.queries(), (query for query, _ in pseudo_dev)), folder / "queries.jsonl")
        splits, relevant = {}, {}
        for split, judgments in read_checked_splits(source, settings.dev_fraction, doc_ids, {*texts}):
            if settings.ignore_identical_ids:
                require_other_documents(source.name, split, judgments)
            write_judgments(judgments, folder / "qrels" / f"{split}.tsv")
            splits[split] = describe_split(judgments)
            relevant[split] = relevant_pairs(judgments, texts)
        if settings.published and settings.expect_counts:
            check_counts(settings.published, len(doc_ids), counts_before_carving(source, splits))
        if pseudo_dev:
            judgments = [judgment for _, judgment in pseudo_dev]
            write_judgments(judgments, folder / "qrels" / "dev.tsv")
            splits["dev"] = describe_split(judgments) | {"pseudo_queries": True}
        card = make_card(settings.published, source.name, doc_ids, splits, settings.ignore_identical_ids)
        write_json(folder / "card.json", card)
    console.print(make_summary_table(settings, len(doc_ids), splits))
    for sentence in [*describe_missing_queries(splits), *describe_overlap(relevant)]:
        print_note(sentence)


def open_source(settings: CollectionConfig, scratch: Path) -> Collection:
    """Open the collection that the section `collection` names: a published one, or the one at `path`.

    scratch: a folder for a temporary file, on a disk with enough space for the texts of the collection. Raises
    GenirError if there is no such collection, or if splits of a published one are renamed.
    """
    if settings.published is None:
        if not settings.path.startswith(("irds:", "hf:")) and not Path(settings.path).is_dir():
            raise GenirError(
                f"collection.path {settings.path}: no such folder (in {Path.cwd()}); give a BEIR folder, irds:ID with "
                "the id of an ir_datasets dataset (the ids are at ir-datasets.com), or hf:NAME with the name of a data "
                "set of the Hugging Face hub"
            )
        return open_collection(settings.path, settings.splits)
    if settings.splits:
        splits = ", ".join(find_published(settings.published).counts.splits)
        raise GenirError(
            f"collection.splits: {settings.published} has fixed splits ({splits}); leave out collection.splits"
        )
    return open_published(settings.published, settings.path, scratch)


def write_documents(source: Collection, path: Path) -> set[str]:
    """Write corpus.jsonl and return the doc_ids."""
    doc_ids = set()
    with atomic_file(path) as handle:
        for document in track(source.documents(), "documents"):
            record = {"_id": document.id, "title": document.title, "text": document.text, "url": document.url}
            handle.write(json.dumps(record, ensure_ascii=False) + "\n")
            doc_ids.add(document.id)
    return doc_ids


def make_pseudo_dev(source: Collection, folder: Path, doc_ids: set[str]) -> list[tuple[Query, Judgment]]:
    """Make a dev split of pseudo queries from the documents in `folder`, with ids that nothing in the source has.

    Raises GenirError if no document has any words.
    """
    from genir.pseudo_queries.dev import make_dev_queries  # imports what other collections do not need

    documents = DocumentFile(folder / "corpus.jsonl")
    found = make_dev_queries(documents, {*doc_ids, *(query.id for query in source.queries())})
    if not found:
        raise GenirError(f"{source.name}: no split 'dev' or 'train', and no document with words to make one from")
    return found


def describe_missing_queries(splits: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Yield sentences about what follows if a collection has no train queries. splits: those of the protocol card."""
    if "train" not in splits:
        yield (
            "there is no split train, so pseudo queries take the place of train queries in training, and the experts "
            "are not fitted to the collection. Another split of a BEIR folder can be used as train: "
            "collection.splits={train: NAME}"
        )
    if splits["dev"].get("pseudo_queries"):
        yield (
            f"there is no split dev either, so dev consists of {splits['dev']['queries']:,} pseudo queries. They show "
            "whether a training goes wrong, but hardly which of two settings is better for queries of users"
        )


def write_queries(queries: Iterable[Query], path: Path) -> dict[str, str]:
    """Write queries.jsonl and return query id -> text."""
    texts = {}
    with atomic_file(path) as handle:
        for query in queries:
            handle.write(json.dumps({"_id": query.id, "text": query.text}, ensure_ascii=False) + "\n")
            texts[query.id] = query.text
    return texts


def write_judgments(judgments: Iterable[Judgment], path: Path) -> None:
    """Write the qrels file of one split."""
    with atomic_file(path) as handle:
        handle.write("\t".join(QRELS_HEADER) + "\n")
        handle.writelines(f"{judgment.query_id}\t{judgment.doc_id}\t{judgment.grade}\n" for judgment in judgments)


def make_summary_table(settings: CollectionConfig, documents: int, splits: Mapping[str, Mapping[str, Any]]) -> Table:
    """Make a table of the splits with their numbers of judged queries and judgments."""
    checked = " (the published counts)" if settings.published and settings.expect_counts else ""
    title = f"{settings.published or settings.path}: {documents:,} documents{checked}"
    table = Table(title=title, title_justify="left")
    table.add_column("split")
    for name in ("queries", "judgments"):
        table.add_column(name, justify="right")
    for split, entry in splits.items():
        table.add_row(split, f"{entry['queries']:,}", f"{entry['judgments']:,}")
    return table


def download_raw_files(settings: CollectionConfig) -> None:
    """Download the raw files of the published collection into the folder collection.path.

    Raises GenirError if the config names no published collection or no folder, or if the download fails.
    """
    if settings.published is None or settings.path.startswith(("irds:", "hf:")):
        raise GenirError(
            "--download downloads the raw files of a published collection into the folder collection.path: name the "
            "collection with collection.published=NAME, and let collection.path be a folder"
        )
    published = find_published(settings.published)
    fetch_all(load_sources()[published.group], published.files, Path(settings.path))


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    download: Annotated[
        bool,
        typer.Option("--download", help="Download and verify the raw files of the published collection first."),
    ] = False,
    force: ForceOption = False,
) -> None:
    """Read a BEIR folder, an ir_datasets id or a data set of the Hugging Face hub, and check it.

    Malformed lines, duplicate ids, judgments of unknown documents or queries, and missing splits are errors; the
    messages name the file and line. A published collection must have its published counts. If there is no dev split, a
    fraction of the train queries (collection.dev_fraction) becomes one, so that no setting is ever chosen on test
    queries. A collection may have no train queries: pseudo queries then take their place, in dev too.

    collection.published names a published collection, and collection.path the folder of its raw files or its
    ir_datasets id. Files are downloaded only with --download; data/sources.yaml lists them.
    """
    settings = load_config(config, overrides or [])
    if download:
        run_on_main(lambda: download_raw_files(settings.collection))
    execute(STAGE, main, settings, force)


STAGE = Stage(
    "prepare", settings=("collection", "search.splits"), external=("collection.path",), writes=("collection",)
)

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)

"""prepare: read a collection, or build a published one from its raw files, check it, and write it in BEIR layout."""

import json
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from genir.collection.base import Collection
from genir.collection.beir import QRELS_HEADER, BeirCollection
from genir.collection.download import fetch_all
from genir.collection.published import check_counts, find_published, open_source
from genir.collection.sources import load_sources
from genir.config import CollectionConfig, Config, load_config
from genir.console import console, track
from genir.errors import GenirError
from genir.evaluation.protocol_card import make_card, split_entry
from genir.files import atomic_file, atomic_folder, require_space, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.records import Judgment

MOST_GRADE = 30  # gains are 2^grade - 1, and measures hold a grade in a C integer


def main(config: Config) -> None:
    """Read what collection.path and collection.published name, check it, and write it and its card into the run folder."""
    settings = config.collection
    source = open_source(settings, config.run_folder)
    if "train" not in source.splits:
        there = ", ".join(source.splits) or "none"
        raise GenirError(
            f"{source.name}: no split 'train' to train on; there are: {there}. Of a BEIR folder another one can serve: "
            "collection.splits={train: dev}"
        )
    require_searched(source, config.search.splits)
    if isinstance(source, BeirCollection) and source.corpus.is_file():
        size = source.corpus.stat().st_size
        require_space(config.run_folder, size * (4 if source.corpus.suffix == ".gz" else 1))
    with atomic_folder(config.run_folder / "collection") as folder:
        doc_ids = write_documents(source, folder)
        query_ids = write_queries(source, folder)
        splits = {}
        for split, rows in split_judgments(source, settings, doc_ids, query_ids):
            write_judgments(rows, folder / "qrels" / f"{split}.tsv")
            splits[split] = split_entry(rows)
        if settings.published and settings.expect_counts:
            check_counts(settings.published, len(doc_ids), as_published(splits, source))
        write_json(folder / "card.json", make_card(settings.published, source.name, doc_ids, splits))
    console.print(table(config, len(doc_ids), splits))


def require_searched(source: Collection, splits: Iterable[str]) -> None:
    """Raise unless each of search.splits is there, or is the dev split that will be carved."""
    there = source.splits if "dev" in source.splits else [*source.splits, "dev (a share of train)"]
    for split in splits:
        if split not in (*source.splits, "dev"):
            raise GenirError(
                f"{source.name}: no split {split!r}, which search.splits asks for; there are: {', '.join(there)}. "
                f"Write search.splits=[dev], or name the file of a BEIR folder that it is: collection.splits="
                f"{{{split}: NAME}}"
            )


def write_documents(source: Collection, folder: Path) -> set[str]:
    """Write corpus.jsonl; return the doc_ids."""
    doc_ids = set()
    with atomic_file(folder / "corpus.jsonl") as handle:
        for document in track(source.documents(), "documents"):
            row = {"_id": document.id, "title": document.title, "text": document.text, "url": document.url}
            handle.write(json.dumps(row, ensure_ascii=False) + "\n")
            doc_ids.add(document.id)
    return doc_ids


def write_queries(source: Collection, folder: Path) -> set[str]:
    """Write queries.jsonl; return the query ids."""
    query_ids = set()
    with atomic_file(folder / "queries.jsonl") as handle:
        for query in source.queries():
            handle.write(json.dumps({"_id": query.id, "text": query.text}, ensure_ascii=False) + "\n")
            query_ids.add(query.id)
    return query_ids


def split_judgments(
    source: Collection, settings: CollectionConfig, doc_ids: set[str], query_ids: set[str]
) -> Iterator[tuple[str, list[Judgment]]]:
    """The checked judgments of every split; without a dev split, one is carved from train by a hash of the query id."""
    for split in source.splits:
        rows = list(checked(source, split, doc_ids, query_ids))
        if split == "train" and "dev" not in source.splits:
            share = settings.dev_fraction * 2**32
            dev = [row for row in rows if zlib.crc32(row.query_id.encode()) < share]
            rows = [row for row in rows if zlib.crc32(row.query_id.encode()) >= share]
            if not dev or not rows:
                raise GenirError(f"{source.name}: too few train queries to carve a dev split; add qrels/dev.tsv")
            yield "dev", with_relevant(source, "dev", dev)
        yield split, with_relevant(source, split, rows) if split in ("train", "dev") else rows


def with_relevant(source: Collection, split: str, rows: list[Judgment]) -> list[Judgment]:
    """The judgments of a split to learn from, or to choose by; GenirError where no document in it is relevant."""
    if not any(row.grade > 0 for row in rows):
        raise GenirError(f"{source.name}: the split {split!r} needs a relevant document, but no grade in it is above 0")
    return rows


def checked(source: Collection, split: str, doc_ids: set[str], query_ids: set[str]) -> Iterator[Judgment]:
    """The judgments of a split; one of an unknown document or query, or given twice, raises GenirError."""
    seen: set[tuple[str, str]] = set()
    for place, judgment in source.judgments(split):
        if judgment.doc_id not in doc_ids:
            raise GenirError(f"{place}: document {judgment.doc_id!r} is not in the corpus")
        if judgment.query_id not in query_ids:
            raise GenirError(f"{place}: query {judgment.query_id!r} is not among the queries")
        if abs(judgment.grade) > MOST_GRADE:
            raise GenirError(
                f"{place}: the grade {judgment.grade} is out of range: a document counts 2^grade - 1 times, so grades "
                f"go up to {MOST_GRADE}; 0 to 3 is usual"
            )
        pair = (judgment.query_id, judgment.doc_id)
        if pair in seen:
            raise GenirError(f"{place}: query {pair[0]!r} and document {pair[1]!r} are judged twice")
        seen.add(pair)
        yield judgment
    if not seen:
        raise GenirError(f"{source.name}: the split {split!r} has no judgments")


def write_judgments(rows: list[Judgment], path: Path) -> None:
    """Write one qrels file."""
    with atomic_file(path) as handle:
        handle.write("\t".join(QRELS_HEADER) + "\n")
        handle.writelines(f"{row.query_id}\t{row.doc_id}\t{row.grade}\n" for row in rows)


def as_published(splits: Mapping[str, dict[str, Any]], source: Collection) -> dict[str, dict[str, int]]:
    """Counts of the splits as they were before a dev split was carved from train."""
    counts = {split: {name: entry[name] for name in ("queries", "judgments")} for split, entry in splits.items()}
    if "dev" in counts and "dev" not in source.splits:
        carved = counts.pop("dev")
        counts["train"] = {name: count + carved[name] for name, count in counts["train"].items()}
    return counts


def table(config: Config, documents: int, splits: Mapping[str, dict[str, Any]]) -> Table:
    """What is in the collection."""
    settings = config.collection
    checked = " (the published counts)" if settings.published and settings.expect_counts else ""
    shown = Table(
        title=f"{settings.published or settings.path}: {documents:,} documents{checked}", title_justify="left"
    )
    shown.add_column("split")
    for name in ("queries", "judgments"):
        shown.add_column(name, justify="right")
    for split, entry in splits.items():
        shown.add_row(split, f"{entry['queries']:,}", f"{entry['judgments']:,}")
    return shown


def download(settings: CollectionConfig) -> None:
    """Fetch the raw files of the build into collection.path."""
    if settings.published is None or settings.path.startswith("irds:"):
        raise GenirError("--download fetches the raw files of a build: name one with collection.published=NAME")
    build = find_published(settings.published)
    fetch_all(load_sources()[build.group], build.files, Path(settings.path))


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    fetch: Annotated[
        bool, typer.Option("--download", help="First fetch the build's raw files, and verify them.")
    ] = False,
    force: ForceOption = False,
) -> None:
    """Read a BEIR folder or an ir_datasets id, or build a published collection from its raw files; check every line.

    Malformed lines, duplicate ids, judgments of unknown documents or queries, and missing splits are errors that name
    the file and line; so is a build that has not its published counts. Without a dev split, a share of the train
    queries (collection.dev_fraction) becomes one, so that nothing is ever chosen on test queries.

    collection.published names a published collection, and collection.path the folder of its raw files (or the ir_datasets
    id). Files are only downloaded with --download; data/sources.yaml lists them.
    """
    settings = load_config(config, overrides or [])
    if fetch:
        download(settings.collection)
    execute(STAGE, main, settings, force)


STAGE = Stage(
    "prepare", settings=("collection", "search.splits"), external=("collection.path",), writes=("collection",)
)

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)

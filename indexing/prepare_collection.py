"""prepare: read a collection, check it, and write it into the run folder in BEIR layout."""

import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from genir.collection import QRELS_HEADER, BeirCollection, Collection, open_collection
from genir.command import run_stage
from genir.config import CollectionConfig, Config
from genir.console import console, track
from genir.errors import GenirError
from genir.files import atomic_file, atomic_folder, require_space, write_json
from genir.records import Judgment
from genir.stage import Stage


def main(config: Config) -> None:
    """Read a BEIR folder or an ir_datasets id, check every line, and write it into the run folder.

    Malformed lines, duplicate ids, judgments of unknown documents or queries, and missing splits are errors that name
    the file and line. Without a dev split, a share of the train queries (collection.dev_fraction) becomes one, so that
    nothing is ever chosen on test queries.
    """
    source = open_collection(config.collection.path, config.collection.splits)
    source.require_split("train")
    for split in config.search.splits:
        source.require_split(split)
    if isinstance(source, BeirCollection):
        size = source.corpus.stat().st_size
        require_space(config.run, size * (4 if source.corpus.suffix == ".gz" else 1))
    with atomic_folder(config.run / "collection") as folder:
        doc_ids = write_documents(source, folder)
        query_ids = write_queries(source, folder)
        counts = {
            split: write_judgments(rows, folder / "qrels" / f"{split}.tsv")
            for split, rows in split_judgments(source, config.collection, doc_ids, query_ids)
        }
        summary = {"source": source.name, "documents": len(doc_ids), "queries": len(query_ids), "splits": counts}
        write_json(folder / "collection.json", summary)
    parts = ", ".join(f"{split} {count['queries']:,}" for split, count in counts.items())
    console.print(f"{source.name}: {len(doc_ids):,} documents; judged queries: {parts}")


def write_documents(source: Collection, folder: Path) -> set[str]:
    """Write corpus.jsonl; return the doc_ids."""
    doc_ids = set()
    with atomic_file(folder / "corpus.jsonl") as handle:
        for document in track(source.documents(), "reading documents"):
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
            yield "dev", dev
        yield split, rows


def checked(source: Collection, split: str, doc_ids: set[str], query_ids: set[str]) -> Iterator[Judgment]:
    """The judgments of a split; one of an unknown document or query, or given twice, raises GenirError."""
    seen: set[tuple[str, str]] = set()
    for place, judgment in source.judgments(split):
        if judgment.doc_id not in doc_ids:
            raise GenirError(f"{place}: document {judgment.doc_id!r} is not in the corpus")
        if judgment.query_id not in query_ids:
            raise GenirError(f"{place}: query {judgment.query_id!r} is not among the queries")
        pair = (judgment.query_id, judgment.doc_id)
        if pair in seen:
            raise GenirError(f"{place}: query {pair[0]!r} and document {pair[1]!r} are judged twice")
        seen.add(pair)
        yield judgment
    if not seen:
        raise GenirError(f"{source.name}: the split {split!r} has no judgments")


def write_judgments(rows: list[Judgment], path: Path) -> dict[str, int]:
    """Write one qrels file; return its counts."""
    with atomic_file(path) as handle:
        handle.write("\t".join(QRELS_HEADER) + "\n")
        handle.writelines(f"{row.query_id}\t{row.doc_id}\t{row.grade}\n" for row in rows)
    return {"queries": len({row.query_id for row in rows}), "judgments": len(rows)}


STAGE = Stage(
    "prepare", settings=("collection", "search.splits"), external=("collection.path",), writes=("collection",)
)

if __name__ == "__main__":
    run_stage(STAGE, main)

"""queries: pseudo queries for every document, for the training mixes that name them."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genir.collection.prepared import PreparedCollection
from genir.config import Config, load_config
from genir.console import console, track
from genir.errors import GenirError, error_at
from genir.evaluation.trec import qrels
from genir.files import atomic_file, atomic_folder, numbered_lines, read_json, write_json
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.pseudo_queries.extractive import text_queries
from genir.records import Document

if TYPE_CHECKING:
    from genir.pseudo_queries.doc2query import QueryWriter

SHARD = 512  # documents that a model writes queries for before they are kept
DEV_PAIRS = 500
DocumentQueries = Iterable[tuple[str, Iterable[str]]]
"""(doc_id, queries of it, best first)"""


def main(config: Config) -> None:
    """Write pseudo_queries/queries.jsonl, lines {"doc_id": ..., "text": ...} in the collection's order, and report.json
    with the counts.

    Empty queries, and those that say the same words again of the same document, are left out.
    """
    data = PreparedCollection(config.run_folder / "collection")
    settings = config.queries
    if settings.method == "extractive":
        source: DocumentQueries = text_queries(data.documents, settings.max_words)
    elif settings.is_file:
        source = own_queries(Path(settings.method), data)
    else:
        source = written_queries(config, data)
    with atomic_folder(config.run_folder / "pseudo_queries") as folder:
        counts = write_queries(source, settings.per_document, len(data.documents), folder / "queries.jsonl")
        if not counts["kept"]:
            raise GenirError(f"queries.method {settings.method}: no query was made of any document")
        write_json(folder / "report.json", {"method": settings.method, "documents": len(data.documents)} | counts)
    clear_work(config)
    parts = "; ".join(f"{name}: {number:,}" for name, number in counts.items())
    console.print(f"{settings.method}: pseudo queries of {len(data.documents):,} documents, {parts}")


def write_queries(source: DocumentQueries, most: int, documents: int, path: Path) -> dict[str, int]:
    """Write at most `most` queries a document; return what was kept and what was left out."""
    counts = Counter[str]()
    with atomic_file(path) as handle:
        for doc_id, texts in track(source, "pseudo queries", documents):
            queries = distinct(texts, most, counts)
            counts["kept"] += len(queries)
            counts["documents without any"] += not queries
            for text in queries:
                handle.write(json.dumps({"doc_id": doc_id, "text": text}, ensure_ascii=False) + "\n")
    return {name: counts[name] for name in ("kept", "empty", "repeated", "documents without any")}


def distinct(texts: Iterable[str], most: int, left_out: Counter[str]) -> list[str]:
    """The first `most` texts that say something, each once whatever its case and spaces; the others are counted."""
    kept: dict[str, str] = {}
    for text in texts:
        clean = " ".join(text.split())
        if not re.search(r"\w", clean):
            left_out["empty"] += 1
        elif clean.casefold() in kept:
            left_out["repeated"] += 1
        else:
            kept[clean.casefold()] = clean
            if len(kept) == most:
                break
    return list(kept.values())


def own_queries(path: Path, data: PreparedCollection) -> DocumentQueries:
    """Queries of a JSONL file with doc_id and text; a bad line or an unknown document raises GenirError."""
    if not path.exists():
        raise GenirError(f"queries.method {path}: no such file")
    found: dict[str, list[str]] = {document.id: [] for document in data.documents}
    for line, text in numbered_lines(path):
        try:
            entry = json.loads(text)
            found[entry["doc_id"]].append(str(entry["text"]))
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise error_at(path, line, f'needs {{"doc_id": a known document, "text": a query}}: {error!r}') from None
    return found.items()


def written_queries(config: Config, data: PreparedCollection) -> DocumentQueries:
    """Queries that a seq2seq model writes, trained on the train queries first where queries.tune_steps says so."""
    from genir.pseudo_queries.doc2query import QueryWriter, tune
    from genir.training.checkpoints import work_folder

    settings = config.queries
    work = work_folder(config, "queries", settings.model_dump(mode="json"), ("collection",))
    name = settings.method
    if settings.tune_steps:
        name = str(config.run_folder / "query_model")
        if not (work / "tuned").exists():
            train, dev = pairs(data, "train"), pairs(data, "dev")[:DEV_PAIRS]
            tune(settings, data.documents, train, dev, config.seed, Path(name), work / "tuning")
            (work / "tuned").touch()
    return in_shards(QueryWriter(name, settings), data.documents, config.seed, work / "shards")


def in_shards(
    writer: QueryWriter, documents: Sequence[Document], seed: int, folder: Path
) -> Iterator[tuple[str, list[str]]]:
    """Each batch's queries are a function of the seed and its place; shards that are there are only read."""
    size = writer.settings.batch_size
    for start in range(0, len(documents), SHARD):
        path, part = folder / f"{start:010d}.json", documents[start : start + SHARD]
        if not path.exists():
            batches = [(start + first, part[first : first + size]) for first in range(0, len(part), size)]
            write_json(path, [texts for place, batch in batches for texts in writer.write(batch, f"{seed}/{place}")])
        yield from zip((document.id for document in part), read_json(path), strict=True)


def clear_work(config: Config) -> None:
    """Give up the shards and checkpoints of a model."""
    work = config.run_folder / "checkpoints" / "queries"
    if work.exists():
        shutil.rmtree(work)
        if not any(work.parent.iterdir()):
            work.parent.rmdir()


def pairs(data: PreparedCollection, split: str) -> list[tuple[str, int]]:
    """(query, row of a relevant document) of each relevant judgment."""
    rows = {document.id: row for row, document in enumerate(data.documents)}
    texts = {query.id: query.text for query in data.queries(split)}
    judged = qrels(data.judgments(split)).items()
    return [(texts[query], rows[doc_id]) for query, grades in judged for doc_id, grade in grades.items() if grade > 0]


def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
    """Make pseudo queries for every document, where a training mix names pseudo_queries.

    queries.method: text takes title, headings, sentences and keyphrases, without a model; a .jsonl file holds queries
    of one's own; any other name is a Hugging Face seq2seq model that samples them, such as doc2query-T5. With
    queries.tune_steps the model is trained on the train queries first, and left in RUN/query_model, which can be
    queries.method of other runs. Written in shards: a killed run goes on after the last one.
    """
    settings = load_config(config, overrides or [])
    if not settings.uses_pseudo_queries:
        console.print("[dim]queries: no training mix names pseudo_queries[/]")
        return
    tuned = ("query_model",) if settings.queries.tune_steps else ()
    execute(STAGE._replace(writes=(*STAGE.writes, *tuned)), main, settings, force)


STAGE = Stage(
    "queries",
    settings=("queries",),
    external=("queries.method",),
    reads=("collection",),
    writes=("pseudo_queries",),
)

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)

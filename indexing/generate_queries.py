"""queries: generate pseudo queries for every document, for training mixes that use them."""

from __future__ import annotations

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genir.checks import is_encodable
from genir.collection.prepared import PreparedCollection
from genir.config import Config, load_config
from genir.console import console, track
from genir.errors import GenirError, error_at
from genir.evaluation.trec import qrels
from genir.files import atomic_file, atomic_folder, numbered_lines, parse_json_line, read_json, write_json
from genir.files.manifest import can_reuse, write_manifest
from genir.pipeline.command import ConfigArgument, ForceOption, OverridesArgument, run_command
from genir.pipeline.stage import Stage, execute
from genir.pipeline.status import needs_pseudo_queries
from genir.processes import is_main_process, run_on_main, take_share, wait_for_all
from genir.pseudo_queries.extractive import extract_all_queries
from genir.records import Document

if TYPE_CHECKING:
    from genir.pseudo_queries.doc2query import QueryGenerator

SHARD_SIZE = 512  # documents whose generated queries are saved together
MAX_DEV_PAIRS = 500  # dev pairs on which the dev loss of fine-tuning is computed
DocumentQueries = Iterable[tuple[str, Iterable[str]]]
"""(doc_id, queries of the document, best first) for each document."""


def main(config: Config) -> None:
    """Write pseudo_queries/queries.jsonl, lines {"doc_id": ..., "text": ...} in collection order, and report.json.

    Empty queries, and queries that repeat another query of the same document, are omitted and counted in report.json.
    """
    data = PreparedCollection(config.run_folder / "collection")
    settings = config.queries
    work = config.run_folder / "checkpoints" / "queries"
    if settings.method != "extractive" and not settings.is_file:
        source: DocumentQueries = generate_with_model(config, data)
    if not is_main_process():
        return
    if settings.method == "extractive":
        source = extract_all_queries(data.documents, settings.max_words)
    elif settings.is_file:
        source = read_query_file(Path(settings.method), data)
    with atomic_folder(config.run_folder / "pseudo_queries") as folder:
        counts = write_queries(source, settings.per_document, len(data.documents), folder / "queries.jsonl")
        if not counts["kept"]:
            raise GenirError(f"queries.method {settings.method}: this method produced no query for any document")
        write_json(folder / "report.json", {"method": settings.method, "documents": len(data.documents)} | counts)
    if work.exists():
        from genir.training.checkpoints import delete_work_folder

        delete_work_folder(work)
    parts = "; ".join(f"{name}: {number:,}" for name, number in counts.items())
    console.print(f"{settings.method}: pseudo queries of {len(data.documents):,} documents, {parts}")


def write_queries(source: DocumentQueries, limit: int, documents: int, path: Path) -> dict[str, int]:
    """Write at most `limit` queries per document to a JSONL file; return how many were kept and omitted.

    documents: number of documents, for the progress bar.
    """
    counts = Counter[str]()
    with atomic_file(path) as handle:
        for doc_id, texts in track(source, "pseudo queries", documents):
            queries = select_distinct(texts, limit, counts)
            counts["kept"] += len(queries)
            counts["documents without any"] += not queries
            for text in queries:
                handle.write(json.dumps({"doc_id": doc_id, "text": text}, ensure_ascii=False) + "\n")
    return {name: counts[name] for name in ("kept", "empty", "repeated", "documents without any")}


def select_distinct(texts: Iterable[str], limit: int, omitted: Counter[str]) -> list[str]:
    """Return the first `limit` texts that are not empty and differ in more than case and white space.

    omitted: counts the texts that are skipped, as "empty" (without a letter or digit) or "repeated"; it is updated.
    """
    kept: dict[str, str] = {}
    for text in texts:
        clean = " ".join(text.split())
        if not re.search(r"\w", clean):
            omitted["empty"] += 1
        elif clean.casefold() in kept:
            omitted["repeated"] += 1
        else:
            kept[clean.casefold()] = clean
            if len(kept) == limit:
                break
    return list(kept.values())


def read_query_file(path: Path, data: PreparedCollection) -> DocumentQueries:
    """Read queries from a JSONL file with the keys doc_id and text.

    Raises GenirError if the file does not exist, for a malformed line, and for a document that is not in the
    collection.
    """
    if not path.exists():
        raise GenirError(f"queries.method {path}: no such file")
    found: dict[str, list[str]] = {document.id: [] for document in data.documents}
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        match parse_json_line(text, path, line):
            case {"doc_id": str(doc_id), "text": str(query)} if doc_id in found and is_encodable(query):
                found[doc_id].append(query)
            case _:
                wanted = '{"doc_id": a known document, "text": a query}'
                raise error_at(path, line, f"must be {wanted}, both strings; got {text[:80]}")
    return found.items()


def generate_with_model(config: Config, data: PreparedCollection) -> DocumentQueries:
    """Generate queries with the seq2seq model queries.method, which is fine-tuned first if queries.tune_steps > 0."""
    from genir.pseudo_queries.doc2query import QueryGenerator, fine_tune
    from genir.training.checkpoints import prepare_work_folder

    settings = config.queries
    name, dump = settings.method, settings.model_dump(mode="json")
    work = run_on_main(lambda: prepare_work_folder(config, "queries", dump, ("collection",), (settings.method,)))
    if settings.tune_steps:
        name = str(config.run_folder / "query_model")
        if run_on_main(lambda: not (work / "tuned").exists()):
            if not data.has_train_queries:
                raise GenirError(
                    "queries.tune_steps: the collection has no train queries to tune a model on; set it to 0"
                )
            train, dev = list_relevant_pairs(data, "train"), list_relevant_pairs(data, "dev")[:MAX_DEV_PAIRS]
            fine_tune(settings, data.documents, train, dev, config.seed, Path(name), work / "tuning")
            run_on_main((work / "tuned").touch)
    return generate_shards(QueryGenerator(name, settings), data.documents, config.seed, work / "shards")


def generate_shards(
    generator: QueryGenerator, documents: Sequence[Document], seed: int, folder: Path
) -> Iterator[tuple[str, list[str]]]:
    """Generate queries of all documents in shards of SHARD_SIZE documents, and return an iterator of (doc_id, queries).

    Shards that already exist in `folder` are not generated again, unless they are damaged. The queries of a batch
    depend only on the model, the seed and the position of the batch, so that an interrupted run, and several processes,
    which divide the shards among themselves, end with the same queries.
    """
    size = generator.settings.batch_size
    starts = range(0, len(documents), SHARD_SIZE)
    for start in track(take_share(starts), "generating queries"):
        shard, part = folder / f"{start:010d}", documents[start : start + SHARD_SIZE]
        if not can_reuse(shard):
            batches = [(start + first, part[first : first + size]) for first in range(0, len(part), size)]
            queries = [texts for first, batch in batches for texts in generator.generate(batch, f"{seed}/{first}")]
            with atomic_folder(shard) as new:
                write_json(new / "queries.json", queries)
                write_manifest(new)
    wait_for_all()
    generated = (texts for start in starts for texts in read_json(folder / f"{start:010d}" / "queries.json"))
    return zip((document.id for document in documents), generated, strict=True)


def list_relevant_pairs(data: PreparedCollection, split: str) -> list[tuple[str, int]]:
    """List a pair (query, index of a relevant document) for each judgment of a split with a grade above 0."""
    doc_indices = {document.id: index for index, document in enumerate(data.documents)}
    texts = {query.id: query.text for query in data.queries(split)}
    judged = qrels(data.judgments(split)).items()
    return [
        (texts[query], doc_indices[doc_id]) for query, grades in judged for doc_id, grade in grades.items() if grade > 0
    ]


def command(config: ConfigArgument, overrides: OverridesArgument = None, force: ForceOption = False) -> None:
    """Generate pseudo queries for every document, if a training mix contains pseudo_queries.

    They are also generated if a mix contains queries and the collection has no train queries, whose place they take.

    With queries.method=extractive, titles, headings, sentences and keyphrases are taken from the documents, without a
    model. If the method is a .jsonl file, queries are read from it. Any other method is the name or folder of a Hugging
    Face seq2seq model that samples queries, such as doc2query-T5; with queries.tune_steps above 0, it is first
    fine-tuned on the train queries and saved to RUN/query_model, which other runs can use as queries.method. Generated
    queries are saved in shards: an interrupted run resumes after the last one.
    """
    settings = load_config(config, overrides or [])
    if not run_on_main(lambda: needs_pseudo_queries(settings)):
        console.print("queries: nothing to do, since no training mix contains pseudo_queries", style="dim")
        return
    tuned = ("query_model",) if settings.queries.tune_steps else ()
    execute(STAGE._replace(writes=(*STAGE.writes, *tuned)), main, settings, force)


STAGE = Stage(
    "queries",
    settings=("queries",),
    external=("queries.method",),
    reads=("collection",),
    writes=("pseudo_queries",),
    divided=True,
)

if __name__ == "__main__":
    run_command(command, STAGE.name, STAGE.settings)

"""negatives: mine hard negatives for the train queries, for the refinement stages."""

import json
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from rich.table import Table

from genir.bm25.index import open_index
from genir.collection.prepared import PreparedCollection
from genir.config import Config
from genir.console import console, track
from genir.docids import DocidTable
from genir.docids.order import docid_numbers
from genir.evaluation.trec import qrels
from genir.files import atomic_file, atomic_folder, write_json
from genir.pipeline.command import run_stage
from genir.pipeline.stage import Stage
from genir.records import Query
from genir.training.negatives import NegativeCandidate, draw_from_bands, filter_negatives, find_siblings

BATCH_SIZE = 256  # queries that are searched in one call


def main(config: Config) -> None:
    """Write negatives/negatives.jsonl: for each train query, documents that BM25 ranks high but that are not relevant.

    The BM25 index is that of the section baseline (bm25s, or Lucene through pyserini); negatives.bands says how many
    documents are drawn from which ranks. Relevant documents, and documents that share a docid with one, are omitted;
    report.json has the counts. Candidates from the model's own beam search are not mined here, but drawn in
    training; see ddro.beam_candidates. If no refinement stage uses mined negatives, the file stays empty.
    """
    wanted = any(getattr(config, name).mined_candidates for name in config.training_stages[1:])
    with atomic_folder(config.run_folder / "negatives") as folder:
        if not wanted:
            (folder / "negatives.jsonl").touch()
            console.print("no training stage uses mined negatives")
            return
        data = PreparedCollection(config.run_folder / "collection")
        table = DocidTable.load(config.run_folder / "docids")
        dropped: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        with atomic_file(folder / "negatives.jsonl") as handle:
            for entry in mine_negatives(config, data, table, dropped, sources):
                handle.write(json.dumps(entry, ensure_ascii=False) + "\n")
        counts = {"kept": dict(sources), "omitted": dict(dropped)}
        write_json(folder / "report.json", counts)
    print_counts(counts)


def mine_negatives(
    config: Config, data: PreparedCollection, table: DocidTable, dropped: Counter[str], sources: Counter[str]
) -> Iterator[dict[str, Any]]:
    """Yield the entry of each train query: query_id, positives (doc_id, grade), negatives (doc_id, source, rank).

    `sources` counts the negatives by source, and `dropped` the omitted candidates by reason.
    """
    settings = config.negatives
    judged = qrels(data.judgments("train"))
    queries = data.queries("train")
    numbers = docid_numbers(table.codes)
    positions = np.argsort(table.ordered.order)
    depth = max((band.last for band in settings.bands), default=0)
    index = open_index(data.documents, config.baseline) if depth else None
    for start in track(range(0, len(queries), BATCH_SIZE), "mining"):
        batch = queries[start : start + BATCH_SIZE]
        hits = index.search_many([query.text for query in batch], depth) if index else [[] for _ in batch]
        for query, found in zip(batch, hits, strict=True):
            grades = {doc_id: grade for doc_id, grade in judged[query.id].items() if grade > 0}
            relevant = [table.doc_indices[doc_id] for doc_id in grades]
            ranking = [table.doc_indices[doc_id] for doc_id, _ in found]
            rng = np.random.default_rng((config.seed, zlib.crc32(query.id.encode())))
            drawn = draw_from_bands(ranking, settings.bands, rng)
            dropped["too few BM25 hits"] += max(0, sum(band.count for band in settings.bands) - len(drawn))
            for doc_index in relevant:
                drawn += find_siblings(table.ordered, positions, doc_index, settings.siblings)
            kept = filter_negatives(drawn, relevant, numbers, dropped)
            sources.update(candidate.source for candidate in kept)
            yield format_entry(query, grades, kept, table)


def format_entry(
    query: Query, grades: Mapping[str, int], kept: Sequence[NegativeCandidate], table: DocidTable
) -> dict[str, Any]:
    """Return one line of negatives.jsonl as a JSON object."""
    return {
        "query_id": query.id,
        "positives": [{"doc_id": doc_id, "grade": grade} for doc_id, grade in grades.items()],
        "negatives": [{"doc_id": table.doc_ids[c.doc_index], "source": c.source, "rank": c.rank} for c in kept],
    }


def print_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Print a table of how many candidates were kept and omitted."""
    table = Table(title="candidates of all train queries", title_justify="left")
    table.add_column("")
    table.add_column("documents", justify="right")
    for name, number in counts["kept"].items():
        table.add_row(f"kept, from {name}", f"{number:,}")
    for name, number in counts["omitted"].items():
        table.add_row(f"[dim]omitted: {name}[/]", f"[dim]{number:,}[/]")
    console.print(table)


STAGE = Stage(
    "negatives",
    settings=("negatives", "baseline", "ddro", "irpo"),
    reads=("collection", "docids"),
    writes=("negatives",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

"""negatives: hard negatives for the train queries, for the refinement stages."""

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
from genir.training.negatives import NegativeCandidate, draw_bands, keep_negatives, siblings

BATCH = 256  # queries searched at once


def main(config: Config) -> None:
    """Write negatives/negatives.jsonl: for each train query, documents that BM25 takes for relevant and are not.

    BM25 is that of the section baseline (bm25s, or pyserini's Lucene); negatives.bands says of which ranks how many.
    Relevant documents, and those that share a docid with one, are never taken; every one left out is counted. The
    model's own beam needs no mining: see ddro.beam_candidates. Nothing is mined when no refinement stage asks for it.
    """
    wanted = any(getattr(config, name).mined_candidates for name in config.training_stages[1:])
    with atomic_folder(config.run_folder / "negatives") as folder:
        if not wanted:
            (folder / "negatives.jsonl").touch()
            console.print("no stage asks for mined negatives")
            return
        data = PreparedCollection(config.run_folder / "collection")
        table = DocidTable.load(config.run_folder / "docids")
        dropped: Counter[str] = Counter()
        sources: Counter[str] = Counter()
        lists = mine(config, data, table, dropped, sources)
        with atomic_file(folder / "negatives.jsonl") as handle:
            for row in lists:
                handle.write(json.dumps(row, ensure_ascii=False) + "\n")
        counts = {"kept": dict(sources), "left out": dict(dropped)}
        write_json(folder / "report.json", counts)
    show(counts)


def mine(
    config: Config, data: PreparedCollection, table: DocidTable, dropped: Counter[str], sources: Counter[str]
) -> Iterator[dict[str, Any]]:
    """One entry a train query: query_id, positives (doc_id, grade), negatives (doc_id, source, rank)."""
    settings = config.negatives
    judged = qrels(data.judgments("train"))
    queries = data.queries("train")
    docid = docid_numbers(table.codes)
    places = np.argsort(table.ordered.order)
    depth = max((band.last for band in settings.bands), default=0)
    index = open_index(data.documents, config.baseline) if depth else None
    for start in track(range(0, len(queries), BATCH), "mining"):
        batch = queries[start : start + BATCH]
        hits = index.search_many([query.text for query in batch], depth) if index else [[] for _ in batch]
        for query, found in zip(batch, hits, strict=True):
            grades = {doc_id: grade for doc_id, grade in judged[query.id].items() if grade > 0}
            relevant = [table.doc_indices[doc_id] for doc_id in grades]
            ranking = [table.doc_indices[doc_id] for doc_id, _ in found]
            rng = np.random.default_rng((config.seed, zlib.crc32(query.id.encode())))
            drawn = draw_bands(ranking, settings.bands, rng)
            dropped["too few BM25 hits"] += max(0, sum(band.count for band in settings.bands) - len(drawn))
            for row in relevant:
                drawn += siblings(table.ordered, places, row, settings.siblings)
            kept = keep_negatives(drawn, relevant, docid, dropped)
            sources.update(candidate.source for candidate in kept)
            yield entry(query, grades, kept, table)


def entry(
    query: Query, grades: Mapping[str, int], kept: Sequence[NegativeCandidate], table: DocidTable
) -> dict[str, Any]:
    """A line of negatives.jsonl."""
    return {
        "query_id": query.id,
        "positives": [{"doc_id": doc_id, "grade": grade} for doc_id, grade in grades.items()],
        "negatives": [{"doc_id": table.doc_ids[c.row], "source": c.source, "rank": c.rank} for c in kept],
    }


def show(counts: Mapping[str, Mapping[str, int]]) -> None:
    """What was kept and left out, as a table."""
    shown = Table(title="candidates of all train queries", title_justify="left")
    shown.add_column("")
    shown.add_column("documents", justify="right")
    for name, number in counts["kept"].items():
        shown.add_row(f"kept, from {name}", f"{number:,}")
    for name, number in counts["left out"].items():
        shown.add_row(f"[dim]left out: {name}[/]", f"[dim]{number:,}[/]")
    console.print(shown)


STAGE = Stage(
    "negatives",
    settings=("negatives", "baseline", "ddro", "irpo"),
    reads=("collection", "docids"),
    writes=("negatives",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

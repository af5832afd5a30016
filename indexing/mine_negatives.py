"""negatives: mine hard negatives of the train queries for the refinement stages."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

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
    """Write negatives/negatives.jsonl, which lists documents for each train query that are similar but not relevant.

    They are drawn from the ranks of BM25 that negatives.bands names, and, if negatives.siblings is above 0, from the
    documents whose docids share the longest prefixes with those of relevant documents. The section baseline chooses the
    BM25 index (bm25s, or Lucene through pyserini). Relevant documents, and documents that share a docid with one, are
    omitted and counted in report.json. Candidates from the beam search of the model are not mined by this stage but
    during training (see ddro.beam_candidates). If no refinement stage uses mined negatives, or there are no train
    queries, the file is empty.
    """
    data = PreparedCollection(config.run_folder / "collection")
    wanted = any(getattr(config, name).mined_candidates for name in config.training_stages[1:])
    with atomic_folder(config.run_folder / "negatives") as folder:
        if not (wanted and data.has_train_queries):
            (folder / "negatives.jsonl").touch()
            reason = "there are no train queries" if wanted else "no training stage uses mined negatives"
            console.print(f"nothing was mined, since {reason}")
            return
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

    sources, dropped: counts of the negatives by source, and of the omitted candidates by reason; both are updated.
    """
    settings = config.negatives
    judged = qrels(data.judgments("train"))
    queries = data.queries("train")
    numbers = docid_numbers(table.codes)
    positions = np.argsort(table.ordered.order)
    depth = max((band.last + data.ignores_identical_ids for band in settings.bands), default=0)
    index = open_index(data.documents, config.baseline) if depth else None
    for start in track(range(0, len(queries), BATCH_SIZE), "mining"):
        batch = queries[start : start + BATCH_SIZE]
        hits = index.search_many([query.text for query in batch], depth) if index else [[] for _ in batch]
        for query, found in zip(batch, hits, strict=True):
            grades = {doc_id: grade for doc_id, grade in judged[query.id].items() if grade > 0}
            relevant = [table.doc_indices[doc_id] for doc_id in grades]
            ranking = [table.doc_indices[doc_id] for doc_id, _ in found if not data.is_ignored(query.id, doc_id)]
            rng = np.random.default_rng((config.seed, zlib.crc32(query.id.encode())))
            drawn = draw_from_bands(ranking, settings.bands, rng)
            dropped["too few BM25 hits"] += max(0, sum(band.count for band in settings.bands) - len(drawn))
            for doc_index in relevant:
                drawn += find_siblings(table.ordered, positions, doc_index, settings.siblings)
            own = (
                [table.doc_indices[query.id]]
                if data.is_ignored(query.id, query.id) and query.id in table.doc_indices
                else []
            )
            kept = filter_negatives(drawn, [*relevant, *own], numbers, dropped)
            sources.update(candidate.source for candidate in kept)
            yield format_entry(query, grades, kept, table)


def format_entry(
    query: Query, grades: Mapping[str, int], kept: Sequence[NegativeCandidate], table: DocidTable
) -> dict[str, Any]:
    """Return the JSON object of one line of negatives.jsonl."""
    return {
        "query_id": query.id,
        "positives": [{"doc_id": doc_id, "grade": grade} for doc_id, grade in grades.items()],
        "negatives": [{"doc_id": table.doc_ids[c.doc_index], "source": c.source, "rank": c.rank} for c in kept],
    }


def print_counts(counts: Mapping[str, Mapping[str, int]]) -> None:
    """Print a table of the numbers of candidates that were kept and omitted."""
    table = Table(title="candidates of all train queries", title_justify="left")
    table.add_column("")
    table.add_column("documents", justify="right")
    for name, number in counts["kept"].items():
        table.add_row(f"kept, from {name}", f"{number:,}")
    for name, number in counts["omitted"].items():
        table.add_row(f"omitted: {name}", f"{number:,}", style="dim")
    console.print(table)


STAGE = Stage(
    "negatives",
    settings=("negatives", "baseline", "ddro", "irpo"),
    reads=("collection", "docids"),
    writes=("negatives",),
)

if __name__ == "__main__":
    run_stage(STAGE, main)

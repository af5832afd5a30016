"""benchmark_added_documents: how well documents are found that were added after training, compared with BM25."""

import json
import subprocess
import sys
import zlib
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from rich.table import Table

from genir import Retriever
from genir.bm25 import BM25sIndex
from genir.collection.prepared import PreparedCollection
from genir.config import Config, load_config
from genir.console import console, print_note
from genir.errors import GenirError
from genir.evaluation.measures import measure
from genir.evaluation.trec import Run, qrels
from genir.files import atomic_file, atomic_folder, write_json
from genir.pipeline.command import ConfigArgument, OverridesArgument, run_command
from genir.records import Judgment, Query

METRIC, K = "RR@10", 10


def is_left_out(doc_id: str, every: int) -> bool:
    """Whether a document takes no part in docids and training: the CRC-32 of its id is divisible by `every`."""
    return zlib.crc32(doc_id.encode()) % every == 0


def write_reduced_collection(data: PreparedCollection, folder: Path, every: int) -> None:
    """Write a BEIR folder without some documents, and without the judgments about them."""
    with atomic_folder(folder) as new:
        kept = (document._asdict() for document in data.documents if not is_left_out(document.id, every))
        write_lines(new / "corpus.jsonl", (json.dumps({"_id": d.pop("id"), **d}) for d in kept))
        (new / "qrels").mkdir()
        for split in data.splits:
            judgments = [j for j in data.judgments(split) if not is_left_out(j.doc_id, every)]
            if not judgments:
                print_note(f"all judgments of the split {split} are about left-out documents; it is left out too")
                continue
            rows = (f"{j.query_id}\t{j.doc_id}\t{j.grade}" for j in judgments)
            write_lines(new / "qrels" / f"{split}.tsv", ["query-id\tcorpus-id\tscore", *rows])
        texts = {query.id: query.text for split in data.splits for query in data.queries(split)}
        write_lines(new / "queries.jsonl", (json.dumps({"_id": i, "text": text}) for i, text in texts.items()))


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file of some lines."""
    with atomic_file(path) as file:
        file.writelines(f"{line}\n" for line in lines)


def search(retriever: Retriever, data: PreparedCollection, queries: list[Query], config: Config) -> dict[str, Run]:
    """Rank the documents for each query by BM25, by the experts alone (if there are any) and by the retriever."""
    texts, k = [query.text for query in queries], K + data.ignores_identical_ids
    found = {"bm25": BM25sIndex(data.documents, config.baseline).search_many(texts, k)}
    if retriever.experts is not None:
        leaves = retriever.trie.doc_indices.tolist()
        ranked = retriever.experts.rank_many(texts, k)
        found["experts"] = [[(retriever.table.doc_ids[leaves[leaf]], score) for leaf, score in hits] for hits in ranked]
    searched = retriever.search_many(texts, k=k, beams=max(k, config.search.beams), show_progress=True)
    found["retriever"] = [[(hit.doc_id, hit.score) for hit in hits] for hits in searched]
    return {
        name: {
            query.id: {d: -float(rank) for rank, (d, _) in enumerate(hits) if not data.is_ignored(query.id, d)}
            for query, hits in zip(queries, ranking, strict=True)
        }
        for name, ranking in found.items()
    }


def measure_groups(runs: dict[str, Run], judgments: Iterable[Judgment], every: int) -> list[dict[str, object]]:
    """Return the mean measures of the queries about added documents, and of the others."""
    judged = qrels(judgments)
    added = {
        query for query, grades in judged.items() if any(is_left_out(d, every) for d, g in grades.items() if g > 0)
    }
    results: list[dict[str, object]] = []
    for group, chosen in (("added documents", added), ("others", judged.keys() - added)):
        part = {query: judged[query] for query in judged if query in chosen}
        means = {name: fmean(measure(run, part, [METRIC])[METRIC].values()) for name, run in runs.items() if part}
        results.append({"queries about": group, "queries": len(part), **means})
    return results


def command(
    config: ConfigArgument,
    overrides: OverridesArgument = None,
    every: Annotated[int, typer.Option(help="One document in so many is added after training.", min=2)] = 10,
) -> None:
    """Train a retriever without a part of the documents, add these, and search all documents for the test queries.

    The documents are chosen by the CRC-32 of their ids. Runs the stages up to train as the run NAME-without-added, and
    writes the measures of BM25 over all documents, of the experts alone and of the retriever to
    RUN/added_documents.json. RR@10 of test queries about added documents is that among all documents.
    """
    given, loaded = overrides or [], load_config(config, overrides or [])
    run_stage("prepare", config, given)
    data = PreparedCollection(loaded.run_folder / "collection")
    reduced = loaded.run_folder.with_name(f"{loaded.name}-without-added")
    collection = reduced.with_name(f"{reduced.name}-collection")
    queries = data.queries("test")
    write_reduced_collection(data, collection, every)
    given = [*given, f"name={reduced.name}", f"collection.path={collection}"]
    given += ["collection.published=null", "collection.splits={}"]
    for stage in ("prepare", "embed", "docids", "queries", "baseline", "negatives", "train"):
        run_stage(stage, config, given)
    retriever = Retriever.from_pretrained(reduced / "retriever")
    retriever.add([document for document in data.documents if is_left_out(document.id, every)])
    runs = search(retriever, data, queries, loaded)
    results = measure_groups(runs, data.judgments("test"), every)
    table = Table(*results[0], title=f"{METRIC} among all {len(data.documents):,} documents")
    for result in results:
        table.add_row(*(f"{value:.3f}" if isinstance(value, float) else f"{value}" for value in result.values()))
    console.print(table)
    write_json(loaded.run_folder / "added_documents.json", results)


def run_stage(stage: str, config: str, overrides: list[str]) -> None:
    """Run one stage in a process of its own. Raises GenirError if it fails."""
    if subprocess.run([sys.executable, "-m", "genir", stage, config, *overrides], check=False).returncode:
        raise GenirError(f"the stage {stage} failed")


if __name__ == "__main__":
    run_command(command, "benchmark_added_documents")

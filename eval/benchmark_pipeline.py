"""benchmark_pipeline: time and peak memory of every stage of the pipeline, on synthetic collections of growing size."""

import json
import math
import multiprocessing
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from genir.benchmarks.documents import SyntheticDocuments
from genir.checks import parse_int
from genir.collection.prepared import PreparedCollection
from genir.config import load_config
from genir.console import console, track
from genir.docids.table import DocidTable
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.files import write_json
from genir.pipeline.command import run_command
from genir.pipeline.process import peak_memory_mb
from genir.training.experts import choose_fitted_queries, make_experts

FOLDER = Path("runs") / "benchmark_pipeline"
DOCUMENT_WORDS, QUERY_WORDS = 100, 5
SPLITS = {"train": 1000, "dev": 100, "test": 100}
"""Number of queries of each split."""
CONFIG = """\
collection: {{path: {collection}}}
runs_dir: {runs}
docids: {{builder: rq, levels: 4, codebook_size: 256}}
model: {{size: tiny, vocab_size: 8000}}
sft: {{batch_size: 32, eval_steps: 100, eval_queries: 100, phases: [{{steps: 100, mix: {{spans: 0.7, queries: 0.3}}}}]}}
ddro: {{steps: 1, eval_queries: 100, pool_size: 1000, mined_candidates: 0, mix: {{queries: 1}}}}
irpo: null
search: {{splits: [test]}}
"""
STAGES = {
    "prepare": "prepare: reading, checking and copying the collection",
    "embed": "embed: TF-IDF and SVD",
    "docids": "docids: RQ 4 x 256",
    "baseline": "baseline: BM25 by bm25s, 200 searches",
    "experts": "experts alone: building and fitting them",
    "sft": "sft: tokenizer, first weights, experts, 100 steps, dev",
    "ddro": "ddro: 1,000 candidate lists, 1 step, dev",
    "search": "search: 100 queries",
}


def write_collection(folder: Path, documents: int) -> None:
    """Write a BEIR folder of synthetic documents, and queries of which each has words of its relevant document."""
    collection = SyntheticDocuments(documents, DOCUMENT_WORDS)
    rng = np.random.default_rng(1)
    (folder / "qrels").mkdir(parents=True)
    with open(folder / "corpus.jsonl", "w") as corpus:
        for document in track(collection, "writing documents"):
            corpus.write(json.dumps({"_id": document.id, "title": "", "text": document.text}) + "\n")
    with open(folder / "queries.jsonl", "w") as queries:
        for split, count in SPLITS.items():
            rows = ["query-id\tcorpus-id\tscore"]
            for number in range(count):
                document = collection[int(rng.integers(documents))]
                words = sorted(set(document.text.split()), key=len)[-3 * QUERY_WORDS :]
                text = " ".join(rng.choice(words, min(QUERY_WORDS, len(words)), replace=False))
                queries.write(json.dumps({"_id": f"{split}{number}", "text": text}) + "\n")
                rows.append(f"{split}{number}\t{document.id}\t1")
            (folder / "qrels" / f"{split}.tsv").write_text("\n".join(rows) + "\n")


def measure(documents: int) -> dict[str, dict[str, float]]:
    """Run the pipeline on a collection, each stage in a process of its own.

    Returns the processor seconds of each, which other work on the machine changes less than those of a clock, and its
    peak memory in MB.
    """
    name = f"{documents}"
    shutil.rmtree(FOLDER / name, ignore_errors=True)
    collection, config = FOLDER / "collection", FOLDER / f"{name}.yaml"
    shutil.rmtree(collection, ignore_errors=True)
    write_collection(collection, documents)
    config.write_text(CONFIG.format(collection=collection, runs=FOLDER))
    found = {}
    for stage, title in STAGES.items():
        console.print(f"{documents:,} documents: {title}", style="dim")
        before = read_processor_time()
        if stage == "experts":
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                memory = pool.submit(measure_experts, config).result()
        else:
            program = "train" if stage in ("sft", "ddro") else stage
            command = [sys.executable, "-m", "genir", program, str(config), *(["ddro=null"] if stage == "sft" else [])]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            memory = json.loads((FOLDER / name / "stage.json").read_text())[stage]["peak_memory_mb"]
        found[stage] = {"seconds": round(read_processor_time() - before, 1), "peak MB": memory}
    shutil.rmtree(FOLDER / name)
    shutil.rmtree(collection)
    return found


def read_processor_time() -> float:
    """Read the processor seconds of all processes that this one started and that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_experts(path: Path) -> int:
    """Build and fit the experts of a run as the stage sft does; returns the peak memory of this process in MB."""
    config = load_config(path)
    data, table = PreparedCollection(config.run_folder / "collection"), DocidTable.load(config.run_folder / "docids")
    make_experts(config, data, Trie.from_codes(table.codes), choose_fitted_queries(data, table, config.seed))
    return round(peak_memory_mb())


def make_table(results: Mapping[int, Mapping[str, Mapping[str, float]]]) -> Table:
    """Make a table of the stages, with the exponent of the growth of their time between the two largest sizes."""
    sizes = sorted(results)
    shown = Table(title=f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    shown.add_column("stage")
    for size in sizes:
        shown.add_column(f"{size:,}", justify="right")
    shown.add_column("exponent", justify="right")
    for stage, title in STAGES.items():
        cells = [f"{results[size][stage]['seconds']:,.1f} s, {results[size][stage]['peak MB']:,} MB" for size in sizes]
        shown.add_row(title, *cells, find_exponent({size: results[size][stage]["seconds"] for size in sizes}))
    return shown


def find_exponent(seconds: Mapping[int, float]) -> str:
    """The exponent e for which the time grows as N^e between the two largest sizes."""
    if len(seconds) < 2:
        return ""
    before, last = sorted(seconds)[-2:]
    return f"{math.log(seconds[last] / max(0.01, seconds[before])) / math.log(last / before):.2f}"


def command(
    sizes: Annotated[str, typer.Option(help="Numbers of documents, separated by commas.")] = "10000,100000,1000000",
) -> None:
    """Run the pipeline on synthetic collections and print the time and peak memory of each stage.

    The documents have 100 words by Zipf's law. The times are processor seconds of whole processes, of which some pass
    while libraries are imported. A stage whose time grows as N log N has an exponent of about 1.1. A
    million documents need about 10 GB of disk space. Writes runs/benchmark_pipeline/results.json after each size.
    """
    try:
        ordered = sorted(parse_int(text) for text in sizes.split(","))
    except ValueError as error:
        raise GenirError(f"--sizes: {error}") from None
    results: dict[int, Any] = {}
    for size in ordered:
        results[size] = measure(size)
        write_json(FOLDER / "results.json", results)
        console.print(make_table(results))


if __name__ == "__main__":
    run_command(command, "benchmark_pipeline")

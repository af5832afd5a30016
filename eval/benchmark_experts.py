"""benchmark_experts: how long BM25 takes as an expert, beside the search of the model, and how large its index is."""

import platform
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.table import Table

from genir.benchmarks.passages import make_index, make_queries
from genir.benchmarks.synthetic import (
    CODEBOOK_SIZE,
    QUERY_TOKENS,
    TEXT_TOKENS,
    make_docid_model,
    make_random_t5,
)
from genir.console import console, track
from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from genir.files import write_json
from genir.pipeline.command import run_command
from genir.scoring.experts import Experts
from genir.scoring.lexical import LexicalIndex
from genir.scoring.masses import Masses

FOLDER = Path("runs") / "benchmark_experts"
SIZES = {320_000: 400_000, 8_800_000: 2_600_000}
"""Number of documents -> number of terms."""
SEARCHED = 320_000
"""The largest number of documents for which the search of the model is measured too."""
SEARCH_LEVELS, BEAMS, K = 8, 50, 10


def measure_expert(documents: int, terms: int, queries: int) -> dict[str, Any]:
    """Build and save an index, map it into memory, and measure the processor time of scoring each query.

    The queries are scored twice, and the second time counts: the pages of the file are in memory then.
    """
    index, texts = make_index(documents, terms), make_queries(documents, terms, queries)
    path = FOLDER / f"{documents}"
    index.save(path)
    del index
    experts = Experts({"text": LexicalIndex.load(path)}, {"text": 1.0})
    seconds, matches = [], []
    for text in (*texts, *track(texts, f"queries of {documents:,} documents")):
        started = time.process_time()
        found = experts.score([text])
        seconds.append(time.process_time() - started)
        matches.append(len(found.keys))
    seconds, matches = seconds[queries:], matches[queries:]
    result = {
        "documents": documents,
        "ms": 1000 * statistics.median(seconds),
        "ms, 95 %": 1000 * float(np.quantile(seconds, 0.95)),
        "matches": statistics.median(matches),
        "MB on disk": sum(file.stat().st_size for file in path.iterdir()) / 1e6,
    }
    if documents <= SEARCHED:
        result["share"] = measure_share(experts, texts[:20], documents)
    return result


def measure_share(experts: Experts, texts: list[str], documents: int) -> float:
    """Return the median share of the expert in the processor time of a query, with a T5-small of random weights."""
    rng = np.random.default_rng(2)
    trie = Trie.from_codes(rng.integers(0, CODEBOOK_SIZE, (documents, SEARCH_LEVELS)))
    model = make_docid_model(make_random_t5("small"), SEARCH_LEVELS)
    ids = torch.from_numpy(rng.integers(0, TEXT_TOKENS, (1, QUERY_TOKENS)))
    shares = []
    for text in track(texts, "searches"):
        started = time.process_time()
        keys, scores = experts.score([text])
        scored = time.process_time()
        with torch.inference_mode():
            masses = Masses(trie, 1, keys, scores)
            beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), BEAMS, K, masses=masses)
        shares.append((scored - started) / (time.process_time() - started))
    return statistics.median(shares[1:])


def command(
    queries: Annotated[int, typer.Option(help="Number of queries.", min=2)] = 200,
    documents: Annotated[
        int, typer.Option(help="Only sizes up to this one; a smaller number is measured alone.", min=1000)
    ] = max(SIZES),
) -> None:
    """Measure BM25 as an expert on synthetic passages with the statistics of MS MARCO's: 35 distinct terms on average.

    A query has four terms. Prints a table and writes runs/benchmark_experts/results.json: the median and the 95th
    percentile of the processor milliseconds of one query on one thread, the documents that it matches, the size of the
    index, and for 320,000 documents the expert's share of the whole search with T5-small, 8 levels and 50 beams.
    """
    torch.set_num_threads(1)
    sizes = {size: terms for size, terms in SIZES.items() if size <= documents} or {documents: documents}
    table = Table(title=f"{platform.processor() or platform.machine()}, torch {torch.__version__}, one thread")
    results = []
    for size, terms in sizes.items():
        results.append(measure_expert(size, terms, queries))
    for column in ("documents", "ms", "ms, 95 %", "matches", "MB on disk", "share"):
        table.add_column(column, justify="right")
    for result in results:
        share = f"{result['share']:.1%}" if "share" in result else ""
        cells = [f"{result['documents']:,}", f"{result['ms']:.1f}", f"{result['ms, 95 %']:.1f}"]
        table.add_row(*cells, f"{result['matches']:,.0f}", f"{result['MB on disk']:,.0f}", share)
    console.print(table)
    write_json(FOLDER / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_experts")

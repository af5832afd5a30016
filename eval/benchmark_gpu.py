"""benchmark_gpu: measure the time of constrained decoding on a CUDA device, in fp32 and bf16, for many docids.

Shapes: B queries, S source tokens, L levels.
"""

import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from genir.benchmarks.hf_generate import DictTrie, compare_rankings, generate, make_dict_trie
from genir.benchmarks.synthetic import (
    CODEBOOK_SIZE,
    LEVELS,
    make_docid_model,
    make_docids,
    make_queries,
    make_trained_t5,
)
from genir.console import console
from genir.decoding.beam import beam_search
from genir.decoding.step import Beams, count_descendants, expand_beams
from genir.docids.trie import Trie
from genir.errors import GenirError
from genir.files import write_json
from genir.model import DocidModel
from genir.pipeline.command import run_command
from genir.t5.cuda_graphs import CUDAGraphCache

FOLDER = Path("runs") / "benchmark_gpu"
COLLECTION_SIZES, BATCH_SIZES, BEAMS, K = (320_000, 8_800_000), (1, 8, 64), 100, 10
WARM_UP, TIMED = 20, 10
"""Number of batches in which most graphs are captured, and of those that are timed after them."""


def search(model: DocidModel, trie: Trie, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Search with genir for queries [B, S]; returns the tokens [B, K, L] and scores [B, K] of the docids found."""
    with torch.inference_mode():
        result = beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), BEAMS, K)
    return model.codes_to_tokens(trie.generated_codes(result.leaves)), result.scores


def measure_seconds(function: Callable[..., object], *arguments: object) -> float:
    """Measure the wall time of one call, including the work of the GPU."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    function(*arguments)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def make_batches(codes: NDArray[np.int64], count: int) -> list[Tensor]:
    """Make batches of `count` queries on the GPU: those for warming up, followed by those to be timed."""
    rng = np.random.default_rng(2)
    return [make_queries(codes[rng.integers(0, len(codes), count)], rng).to("cuda") for _ in range(WARM_UP + TIMED)]


def measure_trie_seconds(trie: Trie, queries: int) -> float:
    """Measure the seconds that the trie takes per level, as a CUDA graph like in a search with softmax_over "full".

    The graph expands all beams into their children and counts the descendants of as many children. The beams of each
    query are the first BEAMS nodes of two codes. The graph is started 50 times without synchronising, just as in a
    search it follows a pass of the decoder without waiting.
    """
    nodes = torch.arange(BEAMS, device="cuda").repeat(queries)
    edges = torch.cat([nodes.new_zeros(1), *(trie.splits[x][:-1] for x in (0, 1)), nodes.new_full((1,), trie.size)])
    edges = torch.unique(edges)
    query = torch.arange(queries, device="cuda").repeat_interleave(BEAMS)
    live = Beams(query, edges[nodes], edges[nodes + 1], torch.zeros(len(nodes), device="cuda"))
    total = int(trie.count_children(2, live.first, live.last).sum())
    logps = torch.zeros((len(nodes), CODEBOOK_SIZE), device="cuda")
    threshold = torch.full((queries,), -torch.inf, device="cuda")

    def run(first: Tensor, last: Tensor) -> Tensor:
        beams = live._replace(first=first, last=last)
        children = expand_beams(trie, 2, beams, logps, threshold, total)[1]
        return count_descendants(trie, 3, children.take(slice(len(nodes))), queries, BEAMS)

    graphs = CUDAGraphCache(1 << 30)

    def run_fifty_times() -> None:
        for _ in range(50):
            graphs("trie", run, live.first, live.last)

    return statistics.median([measure_seconds(run_fifty_times) for _ in range(6)][1:]) / 50


def measure(model: DocidModel, trie: Trie, batches: list[Tensor]) -> dict[str, Any]:
    """Measure milliseconds per query in the timed batches and in the first one, those of the trie, and peak memory."""
    first = measure_seconds(search, model, trie, batches[0])
    for ids in batches[1:WARM_UP]:
        search(model, trie, ids)
    torch.cuda.reset_peak_memory_stats()
    seconds = [measure_seconds(search, model, trie, ids) for ids in batches[WARM_UP:]]
    queries = len(batches[0])
    return {
        "queries": queries,
        "ms": statistics.median(seconds) / queries * 1e3,
        "slowest_ms": max(seconds) / queries * 1e3,
        "first_ms": first / queries * 1e3,
        "trie_ms": measure_trie_seconds(trie, queries) * 1e3,
        "peak_gb": torch.cuda.max_memory_reserved() / 1e9,
    }


def measure_generate(model: DocidModel, root: DictTrie, trie: Trie, batches: list[Tensor]) -> dict[str, Any]:
    """Measure the milliseconds per query of `generate`, and whether it finds the same K docids as genir."""
    queries, found = len(batches[0]), []

    def run(ids: Tensor) -> None:
        found.append(generate(model, root, ids, torch.ones_like(ids), BEAMS, K))

    seconds = [measure_seconds(run, ids) for ids in batches][1:]
    same = [compare_rankings(theirs, search(model, trie, ids)) for theirs, ids in zip(found, batches, strict=True)]
    return {"generate_ms": statistics.median(seconds) / queries * 1e3, "same": min(same)}


def measure_all() -> list[dict[str, Any]]:
    """Make a record for each collection, dtype and batch size; the file of results is written after each record."""
    if not torch.cuda.is_available():
        raise GenirError("benchmark_gpu needs a CUDA device, and torch finds none on this machine")
    records: list[dict[str, Any]] = []
    for docids in COLLECTION_SIZES:
        codes = make_docids(docids)
        trie = Trie.from_codes(codes).to("cuda")
        t5 = make_trained_t5("base", codes, 1600, FOLDER / f"trained-trie-{docids}-1600")
        root: DictTrie | None = None
        if docids == COLLECTION_SIZES[0]:  # a trie of dicts for millions of docids would take tens of gigabytes
            root = make_dict_trie(make_docid_model(t5, LEVELS).codes_to_tokens(trie.codes.cpu().long()))
        for dtype, queries in product((torch.float32, torch.bfloat16), BATCH_SIZES):
            torch.nn.Module.to(t5, "cuda", dtype)
            model = make_docid_model(t5, LEVELS)
            batches = make_batches(codes, queries)
            record = {"docids": docids, "type": "fp32" if dtype == torch.float32 else "bf16"}
            record |= measure(model, trie, batches)
            if root is not None and dtype == torch.float32 and queries < max(BATCH_SIZES):
                record |= measure_generate(model, root, trie, batches[-4:])
            records.append(record)
            write_json(FOLDER / "results.json", {"device": torch.cuda.get_device_name(), "rows": records})
    return records


def make_table(records: list[dict[str, Any]]) -> Table:
    """Make a table with one line per record."""
    table = Table(title=f"{torch.cuda.get_device_name()}, t5-base, 24 levels, 100 beams", title_justify="left")
    names = (
        "docids",
        "type",
        "queries",
        "ms per query",
        "slowest",
        "first",
        "trie per level",
        "GB",
        "generate",
        "same",
    )
    for name in names:
        table.add_column(name, justify="right")
    for record in records:
        table.add_row(
            f"{record['docids'] / 1e6:g}M",
            record["type"],
            str(record["queries"]),
            *(f"{record[name]:.1f}" for name in ("ms", "slowest_ms", "first_ms")),
            f"{record['trie_ms']:.3f}",
            f"{record['peak_gb']:.1f}",
            *((f"{record['generate_ms']:.0f}", record["same"]) if "same" in record else ("", "")),
        )
    return table


def command() -> None:
    """Measure constrained decoding on a GPU: T5-base with trained weights, 24 levels of 256 codes, 100 beams, top 10.

    For 320,000 and 8.8 million synthetic docids, batches of 1, 8 and 64 queries, in fp32 and bf16, it measures the time
    per query and that of the trie per level; in fp32 and for 320,000 docids also that of Hugging Face's `generate`,
    constrained by a trie of dicts. Prints a table and writes runs/benchmark_gpu/results.json. Needs a CUDA device.
    """
    console.print(make_table(measure_all()))


if __name__ == "__main__":
    run_command(command, "benchmark_gpu")

"""benchmark_gpu: constrained decoding on a CUDA device, in fp32 and bf16, over large collections."""

import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from benchmark_decoding import Case, agreement, dict_trie, generate
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor

from genir.benchmarks.synthetic import LEVELS, collection, docid_model, queries, trained_t5
from genir.console import console
from genir.decoding.beam import beam_search
from genir.decoding.step import Beams, grow, outlook
from genir.decoding.trie import Trie
from genir.errors import GenirError
from genir.files import write_json
from genir.model import DocidModel
from genir.pipeline.command import run_command
from genir.t5.cuda_graphs import Replays

FOLDER = Path("runs") / "benchmark_gpu"
SIZES, BATCHES, BEAMS, K = (320_000, 8_800_000), (1, 8, 64), 100, 10
WARM, TIMED = 20, 10
"""Batches before those that are timed, in which most graphs are captured; and those."""


def search(model: DocidModel, trie: Trie, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens [B, K, L] and scores [B, K]."""
    with torch.inference_mode():
        result = beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), BEAMS, K)
    return model.tokens(trie.codes[result.leaves].long()), result.scores


def seconds(run: Any, *arguments: Any) -> float:
    """Of one call, on both clocks."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    run(*arguments)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def batches(codes: NDArray[np.int64], count: int) -> list[Tensor]:
    """Warm-up batches, then those to time."""
    rng = np.random.default_rng(2)
    return [queries(codes[rng.integers(0, len(codes), count)], rng).to("cuda") for _ in range(WARM + TIMED)]


def trie_seconds(trie: Trie, count: int) -> float:
    """What the trie takes of a level, by a graph as a search runs it: the children of all beams, and how many the kept
    ones of them have themselves. The beams are `count` times the first BEAMS nodes of two codes. Graphs follow one
    another without a wait, as they follow a decoder's pass.
    """
    nodes = torch.arange(BEAMS, device="cuda").repeat(count)
    edges = torch.cat([nodes.new_zeros(1), *(trie.splits[x][:-1] for x in (0, 1)), nodes.new_full((1,), trie.size)])
    edges = edges.unique()
    query = torch.arange(count, device="cuda").repeat_interleave(BEAMS)
    live = Beams(query, edges[nodes], edges[nodes + 1], torch.zeros(len(nodes), device="cuda"))
    total = int(trie.children(2, live.first, live.last).sum())
    logps, floor = torch.zeros((len(nodes), 256), device="cuda"), torch.full((count,), -torch.inf, device="cuda")

    def run(first: Tensor, last: Tensor) -> Tensor:
        grown = grow(trie, 2, live._replace(first=first, last=last), logps, floor, total)[1]
        return outlook(trie, 3, grown.at(slice(len(nodes))), count, BEAMS)

    replays = Replays(1 << 30)

    def fifty() -> None:
        for _ in range(50):
            replays("trie", run, live.first, live.last)

    return statistics.median([seconds(fifty) for _ in range(6)][1:]) / 50


def case(model: DocidModel, trie: Trie, sets: list[Tensor]) -> dict[str, Any]:
    """Milliseconds a query, of the first batch and of later ones; and of a level outside the decoder's passes."""
    first = seconds(search, model, trie, sets[0])
    for ids in sets[1:WARM]:
        search(model, trie, ids)
    torch.cuda.reset_peak_memory_stats()
    each = [seconds(search, model, trie, ids) for ids in sets[WARM:]]
    count = len(sets[0])
    return {
        "queries": count,
        "ms": statistics.median(each) / count * 1e3,
        "slowest_ms": max(each) / count * 1e3,
        "first_ms": first / count * 1e3,
        "trie_ms": trie_seconds(trie, count) * 1e3,
        "peak_gb": torch.cuda.max_memory_reserved() / 1e9,
    }


def baseline(model: DocidModel, root: dict[int, Any], trie: Trie, sets: list[Tensor]) -> dict[str, Any]:
    """Hugging Face's generate with a dict trie: milliseconds a query, and whether the top K are the same."""
    count, found = len(sets[0]), []
    how = Case("trained", "base", LEVELS, BEAMS, count)
    times = [seconds(lambda ids=ids: found.append(generate(model, root, ids, how))) for ids in sets][1:]
    same = [agreement(theirs, search(model, trie, ids)) for theirs, ids in zip(found, sets, strict=True)]
    return {"generate_ms": statistics.median(times) / count * 1e3, "same": min(same)}


def on_gpu() -> list[dict[str, Any]]:
    """A row for each collection, type and batch."""
    if not torch.cuda.is_available():
        raise GenirError("benchmark_gpu needs a CUDA device, and torch sees none here")
    rows = []
    for docids in SIZES:
        codes = collection(docids)
        trie = Trie.from_codes(codes).to("cuda")
        t5 = trained_t5("base", codes, 1600, FOLDER / f"trained-{docids}-1600")
        root = dict_trie(docid_model(t5, LEVELS).tokens(torch.from_numpy(codes))) if docids == SIZES[0] else {}
        for dtype, count in product((torch.float32, torch.bfloat16), BATCHES):
            model = docid_model(t5.to("cuda", dtype), LEVELS)
            row = {"docids": docids, "type": "fp32" if dtype == torch.float32 else "bf16"}
            sets = batches(codes, count)
            rows.append(row | case(model, trie, sets))
            if root and dtype == torch.float32 and count < max(BATCHES):
                rows[-1] |= baseline(model, root, trie, sets[-4:])
            write_json(FOLDER / "results.json", {"device": torch.cuda.get_device_name(), "rows": rows})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a case."""
    shown = Table(title=f"{torch.cuda.get_device_name()}, t5-base, 24 levels, 100 beams", title_justify="left")
    for name in (
        "docids",
        "type",
        "queries",
        "ms a query",
        "slowest",
        "first",
        "trie, a level",
        "GB",
        "generate",
        "same",
    ):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            f"{row['docids'] / 1e6:g}M",
            row["type"],
            str(row["queries"]),
            *(f"{row[name]:.1f}" for name in ("ms", "slowest_ms", "first_ms")),
            f"{row['trie_ms']:.3f}",
            f"{row['peak_gb']:.1f}",
            *((f"{row['generate_ms']:.0f}", row["same"]) if "same" in row else ("", "")),
        )
    return shown


def command() -> None:
    """Milliseconds a query of a T5-base with trained weights, 24 levels of 256 codes and 100 beams; top 10.

    320,000 and 8.8 million synthetic docids; batches of 1, 8 and 64 queries; fp32 and bf16; what the trie takes of a
    level; and Hugging Face's `generate` with a dict trie as its callback, in fp32. Writes
    runs/benchmark_gpu/results.json. Needs a CUDA device.
    """
    console.print(table(on_gpu()))


if __name__ == "__main__":
    run_command(command, "benchmark_gpu")

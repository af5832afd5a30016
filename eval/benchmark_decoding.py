"""benchmark_decoding: compare the time of constrained decoding with that of `generate`, and with an upper bound.

Shapes: B queries, S source tokens, L levels.
"""

import math
import platform
import statistics
import time
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import matplotlib
import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.table import Table
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from genir.benchmarks.hf_generate import compare_rankings, generate, make_dict_trie
from genir.benchmarks.synthetic import make_docid_model, make_docids, make_queries, make_random_t5, make_trained_t5
from genir.console import console, track
from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.files import atomic_file, read_json, reading_own_file, write_json
from genir.model import DocidModel
from genir.pipeline.command import run_command

matplotlib.use("Agg")  # writes files only and needs no display
from matplotlib import pyplot as plt

FOLDER = Path("runs") / "benchmark_decoding"
K = 10
"""Number of docids that each search finds."""
MAX_BATCHES, MAX_SECONDS = 3, 30
"""Largest number of batches in each case, and the seconds of `generate` after which no further batch starts."""


class Case(NamedTuple):
    """One case: the weights (trained or random), the model's shape, and the levels, beams and queries of a search."""

    weights: str
    shape: str
    levels: int
    beams: int
    queries: int


class Setup(NamedTuple):
    """What all cases with one model need: the model, its docids [N, L], and their trie as nested dicts."""

    model: DocidModel
    codes: NDArray[np.int64]
    root: dict[int, Any]


class Seconds(NamedTuple):
    """Processor seconds of a batch.

    generate: the baseline. genir: the search of genir. products: only the matrix products of genir's search. bound: a
    search that runs the number of decoder tokens that `count_min_tokens` returns.
    """

    generate: float
    genir: float
    products: float
    bound: float


class Batch(NamedTuple):
    """The measurements of one batch: times, whether the two rankings agree, and the largest difference of scores."""

    seconds: Seconds
    same: str
    score_difference: float


def search(model: DocidModel, trie: Trie, ids: Tensor, beams: int) -> tuple[Tensor, Tensor]:
    """Search with genir for queries [B, S]; returns the tokens [B, K, L] and scores [B, K] of the docids found."""
    with torch.inference_mode():
        result = beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), beams, K)
    return model.codes_to_tokens(trie.codes[result.leaves].long()), result.scores


def time_scoring(model: DocidModel, ids: Tensor, codes: Tensor) -> tuple[Tensor, float, float]:
    """Compute log-probabilities [B, K] of known docids [B, K, L]; also returns the seconds of encoder and decoder."""
    started = time.process_time()
    with torch.inference_mode():
        encoded = model.encode(ids, torch.ones_like(ids))
        encoder_done = time.process_time()
        logps = model.sequence_logps(encoded, codes)
    return logps, encoder_done - started, time.process_time() - encoder_done


def count_min_tokens(model: DocidModel, trie: Trie, ids: Tensor, beams: int) -> int:
    """Count the decoder tokens that a beam search must run even if it knows the K-th score beforehand.

    These are the distinct prefixes of the final beams whose score is at least that of the K-th docid, and a start token
    for each query.
    """
    with torch.inference_mode():
        encoded = model.encode(ids, torch.ones_like(ids))
        codes = trie.codes[beam_search(model, trie, encoded, beams, beams).leaves].long()
        logps = model.code_logps(encoded, codes)
    before = logps.cumsum(-1) - logps
    thresholds = logps.sum(-1).topk(K).values[:, -1:]
    return len(codes) + sum(
        len(docids[needed[:, level], :level].unique(dim=0))
        for docids, needed in zip(codes, before >= thresholds.unsqueeze(-1), strict=True)
        for level in range(1, codes.shape[-1])
    )


class MatrixProducts(TorchDispatchMode):
    """Count the matrix products that run in this context, by their operation and shapes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.counts: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.counts[func, tuple(args[0].shape), tuple(args[1].shape)] += 1
        with self:  # inference mode does not split `linear` and `matmul` into products before it calls this
            result = func.decompose(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if result is NotImplemented else result


def time_products(counts: Counter[tuple[Any, ...]], clock: Callable[[], float]) -> float:
    """Measure the seconds of matrix products, each run alone on random matrices.

    Each product alternates between several weights, so that they are not read from the processor's caches.
    """
    total = 0.0
    for (func, left, right), times in counts.items():
        matrix = torch.randn(left)
        copies = [torch.randn(right) for _ in range(max(2, min(16, 2**24 // math.prod(right))))]
        if func is torch.ops.aten.mm.default:  # a weight is stored as [out, in]
            copies = [x.t().contiguous().t() for x in copies]
        seconds = []
        for _ in range(3):
            started = clock()
            for other in copies:
                func(matrix, other)
            seconds.append((clock() - started) / len(copies))
        total += statistics.median(seconds) * times
    return total


def measure_batch(case: Case, setup: Setup, trie: Trie, ids: Tensor) -> Batch:
    """Measure `generate` and genir, one after the other, on queries [B, S]."""
    clock, model = time.process_time, setup.model
    started = clock()
    theirs = generate(model, setup.root, ids, torch.ones_like(ids), case.beams, K)
    generate_done = clock()
    ours = search(model, trie, ids, case.beams)
    genir_done = clock()
    codes = ours[0] - model.codes_to_tokens(torch.zeros(case.levels, dtype=torch.long))
    logps, encoder, decoder = time_scoring(model, ids, codes)
    with MatrixProducts() as products:
        search(model, trie, ids, case.beams)
    seconds = Seconds(
        generate=generate_done - started,
        genir=genir_done - generate_done,
        products=time_products(products.counts, clock),
        bound=encoder + decoder * count_min_tokens(model, trie, ids, case.beams) / codes.numel(),
    )
    difference = max(float((other - ours[1]).abs().max()) for other in (theirs[1], logps))
    return Batch(seconds, compare_rankings(theirs, ours), difference)


def measure(case: Case, setup: Setup) -> dict[str, Any]:
    """Measure a case and return a record: means over up to `MAX_BATCHES` batches, and the worst agreement."""
    trie, codes = Trie.from_codes(setup.codes), setup.codes
    rng = np.random.default_rng(2)
    batches: list[Batch] = []
    search(setup.model, trie, make_queries(codes[: case.queries], rng), case.beams)
    while len(batches) < MAX_BATCHES and sum(batch.seconds.generate for batch in batches) < MAX_SECONDS:
        ids = make_queries(codes[rng.integers(0, len(codes), case.queries)], rng)
        batches.append(measure_batch(case, setup, trie, ids))
    mean = Seconds(*(statistics.fmean(times) for times in zip(*(batch.seconds for batch in batches), strict=True)))
    return case._asdict() | {
        "seconds": mean._asdict(),
        "batches": len(batches),
        "speedup": mean.generate / mean.genir,
        "max_speedup": mean.generate / mean.bound,
        "time_over_products": mean.genir / mean.products,
        "same": min(batch.same for batch in batches),
        "score_difference": max(batch.score_difference for batch in batches),
    }


def make_table(records: list[dict[str, Any]]) -> Table:
    """Make a table with one line per case."""
    table = Table(title=f"{find_processor_name()}; one thread, fp32, processor seconds per batch", title_justify="left")
    table.add_column("weights, shape, levels, beams, queries", min_width=25)
    for name in ("generate", "genir", "times as fast", "upper bound", "time / matrix products", "same"):
        table.add_column(name, justify="right")
    for record in records:
        table.add_row(
            ", ".join(str(record[name]) for name in Case._fields),
            *(f"{record['seconds'][name]:.2f}" for name in ("generate", "genir")),
            f"{record['speedup']:.1f}",
            f"{record['max_speedup']:.1f}",
            f"{record['time_over_products']:.2f}",
            record["same"],
        )
    return table


def find_processor_name() -> str:
    """Look up the name of this machine's processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def plot_speedups(records: list[dict[str, Any]], path: Path) -> None:
    """Draw the speedup over `generate` as one bar per case, and mark the upper bounds."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.24 * len(records)), layout="constrained")
    labels = [f"{x['shape']}, {x['levels']} levels, {x['beams']} beams, {x['queries']} q." for x in records]
    positions = np.arange(len(records))
    for weights, colour in (("trained", "tab:blue"), ("random", "tab:grey")):
        mine = [number for number, x in enumerate(records) if x["weights"] == weights]
        if mine:
            speedups = [records[number]["speedup"] for number in mine]
            bars = axes.barh(positions[mine], speedups, color=colour, label=f"genir, {weights} weights")
            axes.bar_label(bars, [f"{x:.1f}" for x in speedups], label_type="center", color="white", fontsize=7)
    axes.plot([x["max_speedup"] for x in records], positions, "k|", markersize=9, label="upper bound")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(positions, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="times as fast as generate with a dict trie")
    axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(fontsize=7, loc="outside upper right", ncols=3)
    with atomic_file(path, "wb") as handle:
        figure.savefig(handle, dpi=120)
    plt.close(figure)


def read_results(path: Path) -> dict[Case, dict[str, Any]]:
    """Read the records of an earlier run, by their cases; those of older versions are left out."""
    if not path.exists():
        return {}
    with reading_own_file(path):
        return {
            Case(*(record[name] for name in Case._fields)): record for record in read_json(path) if "speedup" in record
        }


def command(
    docids: Annotated[int, typer.Option(help="Number of docids in the collection.")] = 100_000,
    steps: Annotated[int, typer.Option(help="Number of steps for which the trained weights are trained.")] = 1600,
    only: Annotated[
        str, typer.Option(help="Measure only cases whose names begin with this, such as 'trained small 24'.")
    ] = "",
) -> None:
    """Compare the time of constrained decoding with that of Hugging Face's `generate`, constrained by a trie of dicts.

    Each search finds the best 10 of 100,000 synthetic docids. Weights are random or trained, in the shapes of T5-small
    and T5-base. The time is also compared with that of the search's own matrix products, each run alone. The upper
    bound is the speed of a search that knows the tenth score beforehand and runs no unnecessary decoder token. Cases
    that are already in runs/benchmark_decoding/results.json are not measured again.
    """
    torch.set_num_threads(1)
    path = FOLDER / "results.json"
    results = read_results(path)
    codes = make_docids(docids)
    cases = [Case(*x) for x in product(("trained", "random"), ("small", "base"), (24, 8), (10, 100), (1, 8))]
    trained_folder = FOLDER / f"trained-{docids}-{steps}"
    setups: dict[Any, Setup] = {}
    for case in track(cases, "benchmark"):
        if case in results or not " ".join(map(str, case)).startswith(only):
            continue
        key = (case.weights, case.shape, case.levels)
        if key not in setups:
            t5 = (
                make_random_t5(case.shape)
                if case.weights == "random"
                else make_trained_t5(case.shape, codes, steps, trained_folder)
            )
            model, part = make_docid_model(t5, case.levels), codes[:, : case.levels]
            setups = {key: Setup(model, part, make_dict_trie(model.codes_to_tokens(torch.from_numpy(part))))}
        results[case] = measure(case, setups[key])
        write_json(path, list(results.values()))
        console.print(" ".join(map(str, case)), f"{results[case]['speedup']:.1f} times as fast")
    records = [results[case] for case in cases if case in results]
    console.print(make_table(records))
    plot_speedups(records, FOLDER / "speedup.png")


if __name__ == "__main__":
    run_command(command, "benchmark_decoding")

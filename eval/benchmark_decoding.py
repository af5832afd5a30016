"""benchmark_decoding: compare the time of constrained decoding with that of Hugging Face's `generate`.

Shapes: B queries, S source tokens, L levels, m expert scores of all queries.
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

from genir.benchmarks.hf_generate import DictTrie, compare_rankings, generate, make_dict_trie
from genir.benchmarks.synthetic import (
    make_docid_model,
    make_docids,
    make_expert_scores,
    make_queries,
    make_random_t5,
    make_trained_t5,
)
from genir.console import console, track
from genir.decoding.beam import beam_search
from genir.docids.trie import Trie
from genir.files import atomic_file, read_json, reading_own_file, write_json
from genir.model import DocidModel
from genir.pipeline.command import run_command
from genir.scoring.masses import Masses

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
    """What all cases with one model need: the model, its docids [N, L], and the tries of genir and of `generate`."""

    model: DocidModel
    codes: NDArray[np.int64]
    trie: Trie
    root: DictTrie

    @classmethod
    def make(cls, model: DocidModel, codes: NDArray[np.int64]) -> "Setup":
        """Build both tries of the docids [N, L]."""
        trie = Trie.from_codes(codes)
        docids = trie.generated_codes(torch.arange(trie.size))
        return cls(model, codes, trie, make_dict_trie(model.codes_to_tokens(docids)))


class Queries(NamedTuple):
    """A batch of queries: token ids [B, S], and the keys [m] and scores [m] of a synthetic expert (see `Masses`)."""

    ids: Tensor
    keys: Tensor
    scores: Tensor

    @classmethod
    def make(cls, codes: NDArray[np.int64], count: int, rng: np.random.Generator) -> "Queries":
        """Make queries for random documents among those with the docids [N, L]."""
        ids = make_queries(codes[rng.integers(0, len(codes), count)], rng)
        return cls(ids, *make_expert_scores(count, len(codes), rng))


class Seconds(NamedTuple):
    """Processor seconds of a batch.

    generate: the baseline. genir: the search of genir. products: only the matrix products of genir's search.
    """

    generate: float
    genir: float
    products: float


class Batch(NamedTuple):
    """The measurements of one batch: times, whether the two rankings agree, and the largest difference of scores."""

    seconds: Seconds
    same: str
    score_difference: float


def search(setup: Setup, queries: Queries, beams: int) -> tuple[Tensor, Tensor]:
    """Search with genir; returns the tokens [B, K, L] and scores [B, K] of the docids found."""
    model, trie, (ids, keys, scores) = setup.model, setup.trie, queries
    with torch.inference_mode():
        masses = Masses(trie, len(ids), keys, scores)
        result = beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), beams, K, masses=masses)
    return model.codes_to_tokens(trie.generated_codes(result.leaves)), result.scores


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


def measure_batch(case: Case, setup: Setup, queries: Queries) -> Batch:
    """Measure `generate` and genir, one after the other, on a batch."""
    clock, ids = time.process_time, queries.ids
    log_priors = torch.zeros(len(ids) * setup.trie.size)
    log_priors[queries.keys] = queries.scores
    log_priors = log_priors.view(len(ids), -1)
    started = clock()
    theirs = generate(setup.model, setup.root, ids, torch.ones_like(ids), case.beams, K, log_priors)
    generate_done = clock()
    ours = search(setup, queries, case.beams)
    genir_done = clock()
    with MatrixProducts() as products:
        search(setup, queries, case.beams)
    seconds = Seconds(
        generate=generate_done - started,
        genir=genir_done - generate_done,
        products=time_products(products.counts, clock),
    )
    return Batch(seconds, compare_rankings(theirs, ours), float((theirs[1] - ours[1]).abs().max()))


def measure(case: Case, setup: Setup) -> dict[str, Any]:
    """Measure a case and return a record: means over up to `MAX_BATCHES` batches, and the worst agreement."""
    rng = np.random.default_rng(2)
    batches: list[Batch] = []
    search(setup, Queries.make(setup.codes, case.queries, rng), case.beams)
    while len(batches) < MAX_BATCHES and sum(batch.seconds.generate for batch in batches) < MAX_SECONDS:
        batches.append(measure_batch(case, setup, Queries.make(setup.codes, case.queries, rng)))
    mean = Seconds(*(statistics.fmean(times) for times in zip(*(batch.seconds for batch in batches), strict=True)))
    return case._asdict() | {
        "masses": True,
        "seconds": mean._asdict(),
        "batches": len(batches),
        "speedup": mean.generate / mean.genir,
        "time_over_products": mean.genir / mean.products,
        "same": min(batch.same for batch in batches),
        "score_difference": max(batch.score_difference for batch in batches),
    }


def make_table(records: list[dict[str, Any]]) -> Table:
    """Make a table with one line per case."""
    table = Table(title=f"{find_processor_name()}; one thread, fp32, processor seconds per batch", title_justify="left")
    table.add_column("weights, shape, levels, beams, queries", min_width=25)
    for name in ("generate", "genir", "times as fast", "time / matrix products", "same"):
        table.add_column(name, justify="right")
    for record in records:
        table.add_row(
            ", ".join(str(record[name]) for name in Case._fields),
            *(f"{record['seconds'][name]:.2f}" for name in ("generate", "genir")),
            f"{record['speedup']:.1f}",
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
    """Draw the speedup over `generate` as one bar per case."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.24 * len(records)), layout="constrained")
    labels = [f"{x['shape']}, {x['levels']} levels, {x['beams']} beams, {x['queries']} q." for x in records]
    positions = np.arange(len(records))
    for weights, colour in (("trained", "tab:blue"), ("random", "tab:grey")):
        mine = [number for number, x in enumerate(records) if x["weights"] == weights]
        if mine:
            speedups = [records[number]["speedup"] for number in mine]
            bars = axes.barh(positions[mine], speedups, color=colour, label=f"genir, {weights} weights")
            axes.bar_label(bars, [f"{x:.1f}" for x in speedups], label_type="center", color="white", fontsize=7)
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
    """Read the records of an earlier run, by their cases; those of older versions, without masses, are left out."""
    if not path.exists():
        return {}
    with reading_own_file(path):
        records = [record for record in read_json(path) if record.get("masses")]
        return {Case(*(record[name] for name in Case._fields)): record for record in records}


def command(
    docids: Annotated[int, typer.Option(help="Number of docids in the collection.")] = 100_000,
    steps: Annotated[int, typer.Option(help="Number of steps for which the trained weights are trained.")] = 1600,
    only: Annotated[
        str, typer.Option(help="Measure only cases whose names begin with this, such as 'trained small 24'.")
    ] = "",
) -> None:
    """Compare the time of constrained decoding with that of Hugging Face's `generate`, constrained by a trie of dicts.

    Each search finds the best 10 of 100,000 synthetic documents by the probabilities over the trie's children, with the
    prior masses of 3,000 random expert scores per query. The baseline adds the logarithms of the same masses to its
    logits. Weights are random or trained, in the shapes of T5-small and T5-base. The time is also compared with that of
    the search's own matrix products, each run alone. Cases that are already in
    runs/benchmark_decoding/results.json are not measured again.
    """
    torch.set_num_threads(1)
    path = FOLDER / "results.json"
    results = read_results(path)
    codes = make_docids(docids)
    cases = [Case(*x) for x in product(("trained", "random"), ("small", "base"), (24, 8), (10, 100), (1, 8))]
    trained_folder = FOLDER / f"trained-trie-{docids}-{steps}"
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
            setups = {}  # so that two dict tries are never in memory at once
            setups = {key: Setup.make(make_docid_model(t5, case.levels), codes[:, : case.levels])}
        results[case] = measure(case, setups[key])
        write_json(path, list(results.values()))
        console.print(" ".join(map(str, case)), f"{results[case]['speedup']:.1f} times as fast")
    records = [results[case] for case in cases if case in results]
    console.print(make_table(records))
    plot_speedups(records, FOLDER / "speedup.png")


if __name__ == "__main__":
    run_command(command, "benchmark_decoding")

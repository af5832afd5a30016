"""benchmark_decoding: constrained decoding against `generate` with a dict trie, and against the machine's own limit."""

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
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    PrefixConstrainedLogitsProcessor,
)

from genir.benchmarks.synthetic import CODES, collection, docid_model, new_t5, queries, trained_t5
from genir.console import console, track
from genir.decoding.beam import beam_search
from genir.decoding.trie import Trie
from genir.docids.table import CodeLayout
from genir.files import atomic_file, read_json, write_json
from genir.model import DocidModel
from genir.pipeline.command import run_command

matplotlib.use("Agg")  # files only; needs no display
from matplotlib import pyplot as plt

FOLDER = Path("runs") / "benchmark_decoding"
K = 10


class Case(NamedTuple):
    """One line of the table."""

    weights: str
    shape: str
    levels: int
    beams: int
    queries: int


class LevelSoftmax(LogitsProcessor):
    """Normalises each step of `generate` over its level's codebook, so that both rank by the same score."""

    def __init__(self, layout: CodeLayout) -> None:
        self.layout = layout

    def __call__(self, input_ids: Any, scores: Any) -> Any:  # noqa: D102
        start = self.layout.base + self.layout.offsets[input_ids.shape[1] - 1]
        scores[:, start : start + CODES] = scores[:, start : start + CODES].log_softmax(-1)
        return scores


def dict_trie(tokens: Tensor) -> dict[int, Any]:
    """Docids [N, L] as dicts in dicts."""
    root: dict[int, Any] = {}
    for docid in tokens.tolist():
        node = root
        for token in docid:
            node = node.setdefault(token, {})
    return root


def generate(model: DocidModel, root: dict[int, Any], ids: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """The baseline: Hugging Face's beam search with a callback; tokens [B, K, L], scores [B, K]."""

    def allowed(batch: int, written: Tensor) -> list[int]:
        node = root
        for token in written.tolist()[1:]:
            node = node.get(token, {})
        return list(node) or [0]

    processors = [LevelSoftmax(model.layout), PrefixConstrainedLogitsProcessor(allowed, case.beams)]
    output: Any = model.t5.generate(  # type: ignore[attr-defined]
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        num_beams=case.beams,
        num_return_sequences=K,
        max_new_tokens=case.levels,
        length_penalty=0.0,
        logits_processor=LogitsProcessorList(processors),
        return_dict_in_generate=True,
        output_scores=True,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    )
    return output.sequences[:, 1:].view(len(ids), K, -1), output.sequences_scores.view(len(ids), K)


def search(model: DocidModel, trie: Trie, ids: Tensor, case: Case) -> tuple[Tensor, Tensor]:
    """genir: tokens [B, K, L], scores [B, K]."""
    with torch.inference_mode():
        result = beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), case.beams, K)
    return model.tokens(trie.codes[result.leaves].long()), result.scores


def score(model: DocidModel, ids: Tensor, answers: Tensor) -> tuple[Tensor, float, float]:
    """Log-probs [B, K] of answers' codes [B, K, L] that are known beforehand; seconds of encoder and decoder."""
    started = time.process_time()
    with torch.inference_mode():
        encoded = model.encode(ids, torch.ones_like(ids))
        between = time.process_time()
        found = model.sequence_logps(encoded, answers)
    return found, between - started, time.process_time() - between


def least_rows(model: DocidModel, trie: Trie, ids: Tensor, case: Case) -> int:
    """Decoder tokens that every such beam search must run, even if it knew the K-th score beforehand: the distinct
    beginnings of the last beams that score no less.
    """
    with torch.inference_mode():
        encoded = model.encode(ids, torch.ones_like(ids))
        codes = trie.codes[beam_search(model, trie, encoded, case.beams, case.beams).leaves].long()
        logps = model.code_logps(encoded, codes)
    before = logps.cumsum(-1) - logps
    floors = logps.sum(-1).topk(K).values[:, -1:]
    return len(codes) + sum(
        len(query[above[:, level], :level].unique(dim=0))
        for query, above in zip(codes, before >= floors.unsqueeze(-1), strict=True)
        for level in range(1, case.levels)
    )


class Products(TorchDispatchMode):
    """Counts the matrix products that are run, by their shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[tuple[Any, ...]] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten.mm.default, torch.ops.aten.bmm.default):
            self.seen[func, tuple(args[0].shape), tuple(args[1].shape)] += 1
        with self:  # inference mode hands over whole `linear`s and `matmul`s
            made = func.decompose(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {})) if made is NotImplemented else made


def product_seconds(seen: Counter[tuple[Any, ...]], clock: Callable[[], float]) -> float:
    """What these products take on random matrices, each on its own, with weights too many for the caches."""
    total = 0.0
    for (func, left, right), times in seen.items():
        matrix = torch.randn(left)
        copies = [torch.randn(right) for _ in range(max(2, min(16, 2**24 // math.prod(right))))]
        if func is torch.ops.aten.mm.default:  # a weight is stored as [out, in]
            copies = [x.t().contiguous().t() for x in copies]
        took = []
        for _ in range(3):
            started = clock()
            for other in copies:
                func(matrix, other)
            took.append((clock() - started) / len(copies))
        total += statistics.median(took) * times
    return total


def agreement(theirs: tuple[Tensor, Tensor], ours: tuple[Tensor, Tensor]) -> str:
    """Whether both found the same: "yes", or "ties" where documents of scores that are equal up to rounding changed
    places, or "no".
    """
    if torch.equal(theirs[0], ours[0]):
        return "yes"
    sets = [[set(map(tuple, answers)) for answers in found.tolist()] for found in (theirs[0], ours[0])]
    return "ties" if sets[0] == sets[1] and torch.allclose(theirs[1], ours[1], rtol=0, atol=1e-4) else "no"


def measure(case: Case, model: DocidModel, codes: NDArray[np.int64], root: dict[int, Any]) -> dict[str, Any]:
    """Both ways in turn on three batches of queries, or as many as take half a minute; seconds of processor time."""
    trie = Trie.from_codes(codes)
    rng = np.random.default_rng(2)
    clock = time.process_time
    seconds = {"generate": 0.0, "genir": 0.0, "products": 0.0, "least": 0.0}
    batches, agreed, difference = 0, [], 0.0
    search(model, trie, queries(codes[: case.queries], rng), case)
    while batches < 3 and seconds["generate"] < 30:
        ids = queries(codes[rng.integers(0, len(codes), case.queries)], rng)
        started = clock()
        theirs = generate(model, root, ids, case)
        between = clock()
        ours = search(model, trie, ids, case)
        seconds["genir"] += clock() - between
        seconds["generate"] += between - started
        answers = ours[0] - model.tokens(torch.zeros(case.levels, dtype=torch.long))
        alone, encoder, decoder = score(model, ids, answers)
        seconds["least"] += encoder + decoder * least_rows(model, trie, ids, case) / answers.numel()
        with Products() as products:
            search(model, trie, ids, case)
        seconds["products"] += product_seconds(products.seen, clock)
        agreed.append(agreement(theirs, ours))
        difference = max(difference, *(float((other - ours[1]).abs().max()) for other in (theirs[1], alone)))
        batches += 1
    return case._asdict() | {
        "seconds": {name: total / batches for name, total in seconds.items()},
        "batches": batches,
        "times": seconds["generate"] / seconds["genir"],
        "possible": seconds["generate"] / seconds["least"],
        "of_products": seconds["genir"] / seconds["products"],
        "same": min(agreed),  # no, ties, yes
        "score_difference": difference,
    }


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a case."""
    shown = Table(title=f"{machine()}; one thread, fp32, processor seconds a batch", title_justify="left")
    shown.add_column("weights, shape, levels, beams, queries", min_width=25)
    for name in ("generate", "genir", "times", "possible", "of its products", "same"):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            ", ".join(str(row[name]) for name in Case._fields),
            *(f"{row['seconds'][way]:.2f}" for way in ("generate", "genir")),
            f"{row['times']:.1f}",
            f"{row['possible']:.1f}",
            f"{row['of_products']:.2f}",
            row["same"],
        )
    return shown


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Times faster than generate, a bar a case."""
    figure, axes = plt.subplots(figsize=(8, 1.2 + 0.24 * len(rows)), layout="constrained")
    labels = [f"{x['shape']}, {x['levels']} levels, {x['beams']} beams, {x['queries']} q." for x in rows]
    places = np.arange(len(rows))
    for weights, colour in (("trained", "tab:blue"), ("random", "tab:grey")):
        mine = [number for number, x in enumerate(rows) if x["weights"] == weights]
        if mine:
            times = [rows[number]["times"] for number in mine]
            bars = axes.barh(places[mine], times, color=colour, label=f"genir, {weights} weights")
            axes.bar_label(bars, [f"{x:.1f}" for x in times], label_type="center", color="white", fontsize=7)
    axes.plot([x["possible"] for x in rows], places, "k|", markersize=9, label="at most possible")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_yticks(places, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="times as fast as generate with a dict trie")
    axes.xaxis.set_major_formatter("{x:g}")
    figure.legend(fontsize=7, loc="outside upper right", ncols=3)
    with atomic_file(path, "wb") as handle:
        figure.savefig(handle, dpi=120)
    plt.close(figure)


def command(
    docids: Annotated[int, typer.Option(help="In the collection.")] = 100_000,
    steps: Annotated[int, typer.Option(help="Training steps of the trained weights.")] = 1600,
    only: Annotated[str, typer.Option(help="A part of the cases' names, such as 'trained small 24'.")] = "",
) -> None:
    """Time constrained decoding against Hugging Face's `generate` with a dict trie as its callback.

    Top 10 of 100,000 synthetic docids; random weights, and trained ones; T5-small and T5-base shapes. Also against the
    time that the search's own matrix products take on this machine, each on its own. "Possible" is how many times as
    fast a search could be that knew the tenth score beforehand and ran no token in vain. Cases that are in
    runs/benchmark_decoding/results.json are not measured again.
    """
    torch.set_num_threads(1)
    path = FOLDER / "results.json"
    done = {tuple(row[name] for name in Case._fields): row for row in (read_json(path) if path.exists() else [])}
    codes = collection(docids)
    cases = [Case(*x) for x in product(("trained", "random"), ("small", "base"), (24, 8), (10, 100), (1, 8))]
    kept = FOLDER / f"trained-{docids}-{steps}"
    made: dict[Any, Any] = {}
    for case in track(cases, "benchmark", len(cases)):
        if case in done or not " ".join(map(str, case)).startswith(only):
            continue
        if case[:3] not in made:
            t5 = new_t5(case.shape) if case.weights == "random" else trained_t5(case.shape, codes, steps, kept)
            model, part = docid_model(t5, case.levels), codes[:, : case.levels]
            made = {case[:3]: (model, part, dict_trie(model.tokens(torch.from_numpy(part))))}
        done[case] = measure(case, *made[case[:3]])
        write_json(path, list(done.values()))
        console.print(" ".join(map(str, case)), f"{done[case]['times']:.1f} times")
    rows = [done[case] for case in cases if case in done]
    console.print(table(rows))
    draw(rows, FOLDER / "speedup.png")


if __name__ == "__main__":
    run_command(command, "benchmark_decoding")

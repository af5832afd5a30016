"""benchmark_input: how many training examples a second worker processes prepare, and how much of a batch is padding."""

import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from rich.table import Table
from torch.utils.data import DataLoader

from genir.collection.prepared import PreparedCollection
from genir.config import LoopConfig, Mix, SpanConfig
from genir.console import console, track
from genir.errors import GenirError
from genir.files import write_json
from genir.pipeline.command import run_command
from genir.retriever import Retriever
from genir.training.examples import Collator, ExampleSources, ExampleStream
from genir.training.length_groups import LengthGroupCollator
from genir.training.packing import unpack
from genir.training.workers import using_workers

FOLDER = Path("runs") / "benchmark_input"
BATCH_SIZE = 128
WARM_UP_BATCHES = 4
"""Batches of each worker that are not timed, since it starts meanwhile."""
SPANS = {"short": (3, 16), "long": (60, 100)}
"""Fewest and most words of the spans that are drawn."""
MAX_TOKENS = 128


def make_loader(
    retriever: Retriever, data: PreparedCollection, words: tuple[int, int], batches: int, workers: int, experts: bool
) -> DataLoader[Any]:
    """Make the loader of a training on the CPU whose examples are spans of the collection's documents."""
    settings = LoopConfig(spans=SpanConfig(min_words=words[0], max_words=words[1]), max_tokens=MAX_TOKENS)
    kinds: Sequence[Mix] = ["spans"]
    sources = ExampleSources(data.documents, [], [])
    stream = ExampleStream(batches * BATCH_SIZE, 1, {"spans": 1.0}, sources, settings, kinds if experts else ())
    collate = LengthGroupCollator(Collator(retriever, MAX_TOKENS), len(retriever.table), torch.device("cpu"))
    return DataLoader(stream, BATCH_SIZE, collate_fn=collate, num_workers=workers)


def measure(loader: DataLoader[Any], title: str) -> dict[str, float]:
    """Read all batches, and return examples and tokens per second and the share of the tokens that are padding."""
    tokens = positions = examples = 0
    seconds = 0.0
    with using_workers():
        for number, batch in enumerate(track(loader, title)):
            if number == WARM_UP_BATCHES * max(1, loader.num_workers) - 1:
                seconds = -time.perf_counter()
            elif seconds:
                masks = [group["attention_mask"] for group in unpack(batch)["groups"]]
                tokens += sum(int(mask.sum()) for mask in masks)
                positions += sum(mask.numel() for mask in masks)
                examples += sum(map(len, masks))
    seconds += time.perf_counter()
    return {
        "examples_per_second": examples / seconds,
        "tokens_per_example": tokens / examples,
        "padding": 1 - tokens / positions,
    }


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")],
    workers: Annotated[int, typer.Option(help="Worker processes; 0 prepares the batches in this one.", min=0)] = 2,
    batches: Annotated[int, typer.Option(help=f"Timed batches of {BATCH_SIZE} examples.", min=1)] = 100,
) -> None:
    """Time the preparation of training batches: reading, drawing and tokenising spans, and scoring them by the experts.

    The batches are those of `genir train`, but nothing is trained. The spans are drawn from the documents of RUN, and
    truncated at 128 tokens. Prints a table of short and long spans, without and with the experts, and writes it to
    runs/benchmark_input/results.json.
    """
    retriever, data = Retriever.from_pretrained(run), PreparedCollection(run / "collection")
    if len(retriever.table) != len(data.documents):
        raise GenirError(f"{run}: the retriever has other documents than the collection; use a run without added ones")
    table = Table(title=f"{run}, {workers} workers, {platform.machine()} CPU", title_justify="left")
    for column in ("words of a span", "experts", "examples/s", "tokens", "padding"):
        table.add_column(column, justify="left" if column == "experts" else "right")
    results = []
    total = batches + WARM_UP_BATCHES * max(1, workers)
    for name, words in SPANS.items():
        for experts in [False, True] if retriever.index.experts else [False]:
            loader = make_loader(retriever, data, words, total, workers, experts)
            found = measure(loader, f"{name} spans{', experts' if experts else ''}")
            results.append({"spans": name, "experts": experts, "workers": workers, **found})
            rate = f"{found['examples_per_second']:,.0f}"
            shares = f"{found['tokens_per_example']:.1f}", f"{found['padding']:.1%}"
            table.add_row(f"{words[0]}-{words[1]}", "yes" if experts else "no", rate, *shares)
    console.print(table)
    write_json(FOLDER / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_input")

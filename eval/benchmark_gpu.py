"""benchmark_gpu: constrained decoding on a CUDA device, in fp32 and bf16, over large collections."""

import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from genir.beam import beam_search
from genir.command import run_command
from genir.console import console
from genir.errors import GenirError
from genir.files import write_json
from genir.model import DocidModel
from genir.synthetic import collection, docid_model, new_t5, queries
from genir.trie import Trie

BEAMS, K = 100, 10


class Timed(DocidModel):
    """Adds up the seconds inside the model, and counts its passes."""

    seconds, passes = 0.0, 0

    def _timed(self, name: str, *arguments: Any) -> Any:
        torch.cuda.synchronize()
        started = time.perf_counter()
        made = getattr(super(), name)(*arguments)
        torch.cuda.synchronize()
        self.seconds += time.perf_counter() - started
        self.passes += name == "extend"
        return made

    def encode(self, *arguments: Any) -> Any:  # noqa: D102
        return self._timed("encode", *arguments)

    def remember(self, *arguments: Any) -> Any:  # noqa: D102
        return self._timed("remember", *arguments)

    def extend(self, *arguments: Any) -> Any:  # noqa: D102
        return self._timed("extend", *arguments)

    def level_logps(self, *arguments: Any) -> Any:  # noqa: D102
        return self._timed("level_logps", *arguments)


def search(model: DocidModel, trie: Trie, ids: torch.Tensor) -> float:
    """Seconds of one search."""
    torch.cuda.synchronize()
    started = time.perf_counter()
    with torch.inference_mode():
        beam_search(model, trie, model.encode(ids, torch.ones_like(ids)), BEAMS, K)
    torch.cuda.synchronize()
    return time.perf_counter() - started


def on_gpu() -> list[dict[str, Any]]:
    """A row for each collection, type and batch: milliseconds a query, and those of a pass outside the model."""
    if not torch.cuda.is_available():
        raise GenirError("benchmark_gpu needs a CUDA device, and torch sees none here")
    rows = []
    for docids, dtype in product((320_000, 8_800_000), (torch.float32, torch.bfloat16)):
        codes = collection(docids)
        trie = Trie.from_codes(codes).to("cuda")
        model = docid_model(new_t5("base").to("cuda", dtype), codes.shape[1])
        timed = Timed(model.t5, model.layout, model.normalize)
        for count in (1, 8, 64):
            rng = np.random.default_rng(2)
            ids = queries(codes[rng.integers(0, docids, count)], rng).to("cuda")
            search(model, trie, ids)
            each = statistics.median(search(model, trie, ids) for _ in range(10)) / count
            search(timed, trie, ids)
            timed.seconds, timed.passes = 0.0, 0
            outside = (search(timed, trie, ids) - timed.seconds) / timed.passes
            name = str(dtype).removeprefix("torch.")
            rows.append({"docids": docids, "type": name, "queries": count, "ms": each * 1e3, "overhead": outside * 1e3})
    return rows


def table(rows: list[dict[str, Any]]) -> Table:
    """One line a case."""
    shown = Table(title=f"{torch.cuda.get_device_name()}, t5-base, 24 levels, 100 beams", title_justify="left")
    for name in ("docids", "type", "queries", "ms a query", "ms a level outside the model"):
        shown.add_column(name, justify="right")
    for row in rows:
        shown.add_row(
            f"{row['docids']:,}", row["type"], str(row["queries"]), f"{row['ms']:.1f}", f"{row['overhead']:.2f}"
        )
    return shown


def command() -> None:
    """Milliseconds a query of a T5-base with random weights, 24 levels of 256 codes and 100 beams.

    320,000 and 8.8 million docids; batches of 1, 8 and 64 queries; fp32 and bf16; and how many milliseconds of a level
    are not the model's own. Writes runs/benchmark_gpu/results.json. Needs a CUDA device.
    """
    rows = on_gpu()
    write_json(Path("runs") / "benchmark_gpu" / "results.json", {"device": torch.cuda.get_device_name(), "rows": rows})
    console.print(table(rows))


if __name__ == "__main__":
    run_command(command, "benchmark_gpu")

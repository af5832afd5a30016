"""benchmark_docids: docids and tries at the size of the published collections, on synthetic vectors and codes."""

import json
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from genir.config import PQConfig, RQConfig
from genir.console import console
from genir.files import atomic_folder, write_json
from genir.pipeline.command import run_command
from genir.pipeline.stage import peak_memory_mb, restart_peak_meter
from genir.records import Document

PUBLISHED = {
    "pq 24 x 256": PQConfig(levels=24, codebook_size=256),
    "rq 8 x 256": RQConfig(levels=8, codebook_size=256),
}
TRIES = {"trie 8 x 256": (8_800_000, 8), "trie 24 x 256": (3_200_000, 24)}
WIDTH = 768


def synthetic_vectors(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Unit vectors [count, 768] in 2,000 clusters that lie near a space of 64 dimensions, as sentence vectors do."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(64, WIDTH)).astype(np.float32)
    centres = rng.normal(size=(2000, 64)).astype(np.float32) @ basis
    vectors = np.empty((count, WIDTH), np.float32)
    for start in range(0, count, 10_000):
        part = vectors[start : start + 10_000]
        cluster = rng.integers(0, len(centres), len(part))
        part[:] = centres[cluster] + 0.5 * rng.normal(size=(len(part), 64)).astype(np.float32) @ basis
        part += rng.normal(size=part.shape).astype(np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def build(name: str, count: int) -> dict[str, Any]:
    """Vectors -> docids, table, trie and report on disk."""
    from genir.decoding.trie import Trie
    from genir.docids import DocidTable, Source
    from genir.docids.assign import build_docids
    from genir.docids.report import report

    vectors = synthetic_vectors(count)
    doc_ids = [f"D{row}" for row in range(count)]
    documents = [Document(doc_id, "", "") for doc_id in doc_ids]
    settings = PUBLISHED[name]
    started = time.perf_counter()
    built, final = build_docids(Source(documents, vectors), settings, 1)
    quantised = time.perf_counter() - started
    table = DocidTable(doc_ids, doc_ids, *final[:2], {"docids": settings.model_dump()}, final.codebooks)
    with atomic_folder(Path("runs") / "benchmark_docids" / name.replace(" ", "")) as folder:
        table.save(folder)
        Trie.from_codes(table.codes).save(folder / "trie.safetensors")
        figures = report(table, built.codes, vectors, 1)
    return {
        "seconds": time.perf_counter() - started,
        "of which quantising": quantised,
        "peak MB": peak_memory_mb(),
        "documents": count,
        "unique before collisions": figures["unique_share_before_collisions"],
    }


def trie(name: str, share: float) -> dict[str, Any]:
    """Codes -> trie, saved and mapped; the memory of a reader that walks down to a thousand docids."""
    import torch

    from genir.decoding.trie import Trie

    count, levels = int(TRIES[name][0] * share), TRIES[name][1]
    codes = np.random.default_rng(0).integers(0, 256, (count, levels), dtype=np.uint8)
    stood = resident_mb("VmRSS")
    restart_peak_meter()
    started = time.perf_counter()
    built = Trie.from_codes(codes)
    seconds = time.perf_counter() - started
    own = peak_memory_mb() - stood
    path = Path("runs") / "benchmark_docids" / f"{name.replace(' ', '')}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    built.save(path)
    peak = peak_memory_mb()
    del built, codes
    before = resident_mb()
    mapped = Trie.load(path)
    wanted = torch.linspace(0, mapped.size - 1, 1000).long()
    first, last = torch.zeros(1, dtype=torch.long), torch.tensor([mapped.size])
    for level in range(levels):
        children = mapped.expand(level, first, last)
        place = torch.searchsorted(children.first, wanted, right=True) - 1
        first, last = children.first[place.unique()], children.last[place.unique()]
    assert torch.equal(first, wanted.unique())
    reader = resident_mb() - before
    size = path.stat().st_size / 1e6
    return {
        "seconds": seconds,
        "peak MB": peak,
        "build MB": own,
        "trie MB": size,
        "reader MB": reader,
        "documents": count,
    }


def resident_mb(kind: str = "RssAnon") -> float:
    """Memory of this process; RssAnon: private, without mapped files."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024


def command(
    share: Annotated[float, typer.Option(help="Of the full sizes: 320,000 vectors, 8.8 and 3.2 million docids.")] = 1.0,
    only: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Time and memory of docids for 320,000 vectors of 768, and of tries for 8.8 and 3.2 million docids.

    Each part runs in a process of its own, for its own peak memory: that includes its input (the vectors are 983 MB)
    and Python's libraries. "build" is what the building of a trie takes beyond these, the trie itself included.
    Prints a table and writes runs/benchmark_docids/results.json.
    """
    if only is not None:
        result = build(only, int(320_000 * share)) if only in PUBLISHED else trie(only, share)
        print(json.dumps(result))
        return
    results = {}
    shown = Table(title=f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for column in ("part", "documents", "seconds", "peak MB", "build MB", "trie MB", "reader MB"):
        shown.add_column(column, justify="left" if column == "part" else "right")
    for name in (*PUBLISHED, *TRIES):
        arguments = [sys.executable, __file__, "--only", name, "--share", str(share)]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        results[name] = row = json.loads(done.stdout.splitlines()[-1])
        cells = [f"{row[key]:,.0f}" if key in row else "" for key in ("peak MB", "build MB", "trie MB", "reader MB")]
        shown.add_row(name, f"{row['documents']:,}", f"{row['seconds']:.1f}", *cells)
        console.print(f"[dim]{name}: {row}[/]")
    console.print(shown)
    write_json(Path("runs") / "benchmark_docids" / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_docids")

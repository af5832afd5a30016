"""benchmark_docids: time and memory of building docids and tries of the sizes of published collections."""

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
from genir.pipeline.process import peak_memory_mb, restart_memory_meter
from genir.records import Document

BUILDS = {
    "pq 24 x 256": PQConfig(levels=24, codebook_size=256),
    "rq 8 x 256": RQConfig(levels=8, codebook_size=256),
}
"""Name of a measured build -> docid settings."""
BUILD_DOCUMENTS = 320_000
"""Number of documents in each build."""
TRIES = {"trie 8 x 256": (8_800_000, 8), "trie 24 x 256": (3_200_000, 24)}
"""Name of a measured trie -> number of documents, levels."""
DIMENSION = 768
FOLDER = Path("runs") / "benchmark_docids"
MEMORY_COLUMNS = ("peak MB", "build MB", "trie MB", "reader MB")


def make_vectors(count: int, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Make unit vectors [count, 768] in 2,000 clusters near a subspace of 64 dimensions, like sentence embeddings."""
    rng = np.random.default_rng(seed)
    basis = rng.normal(size=(64, DIMENSION)).astype(np.float32)
    centres = rng.normal(size=(2000, 64)).astype(np.float32) @ basis
    vectors = np.empty((count, DIMENSION), np.float32)
    for start in range(0, count, 10_000):
        part = vectors[start : start + 10_000]
        cluster = rng.integers(0, len(centres), len(part))
        part[:] = centres[cluster] + 0.5 * rng.normal(size=(len(part), 64)).astype(np.float32) @ basis
        part += rng.normal(size=part.shape).astype(np.float32)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    return vectors


def benchmark_build(name: str, count: int) -> dict[str, Any]:
    """Build docids for synthetic vectors, write the table and the trie, and make the report; returns measurements."""
    from genir.docids import BuilderInput, DocidTable
    from genir.docids.assign import build_docids
    from genir.docids.report import make_report
    from genir.docids.trie import Trie

    vectors = make_vectors(count)
    doc_ids = [f"D{number}" for number in range(count)]
    documents = [Document(doc_id, "", "") for doc_id in doc_ids]
    settings = BUILDS[name]
    started = time.perf_counter()
    built, final = build_docids(BuilderInput(documents, vectors), settings, 1)
    quantised = time.perf_counter() - started
    table = DocidTable.from_codes(final, doc_ids=doc_ids, titles=doc_ids, settings={"docids": settings.model_dump()})
    with atomic_folder(FOLDER / name.replace(" ", "")) as folder:
        table.save(folder)
        Trie.from_codes(table.codes).save(folder / "trie.safetensors")
        report = make_report(table, built.codes, vectors, 1)
    return {
        "seconds": time.perf_counter() - started,
        "of which quantising": quantised,
        "peak MB": peak_memory_mb(),
        "documents": count,
        "unique before collisions": report["unique_share_before_collisions"],
    }


def benchmark_trie(name: str, share: float) -> dict[str, Any]:
    """Build and save a trie over random docids, then map it into memory and look up a thousand docids.

    Returns measurements: "build MB" is the memory for building, including the trie; "reader MB" is that for looking up.
    """
    from genir.docids.trie import Trie

    count, levels = int(TRIES[name][0] * share), TRIES[name][1]
    codes = np.random.default_rng(0).integers(0, 256, (count, levels), dtype=np.uint8)
    before_build = resident_mb("VmRSS")
    restart_memory_meter()
    started = time.perf_counter()
    built = Trie.from_codes(codes)
    seconds = time.perf_counter() - started
    build_mb = peak_memory_mb() - before_build
    path = FOLDER / f"{name.replace(' ', '')}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    built.save(path)
    peak = peak_memory_mb()
    del built
    before_load = resident_mb()
    mapped = Trie.load(path, codes)
    look_up(mapped, levels, 1000)
    return {
        "seconds": seconds,
        "peak MB": peak,
        "build MB": build_mb,
        "trie MB": path.stat().st_size / 1e6,
        "reader MB": resident_mb() - before_load,
        "documents": count,
    }


def look_up(trie: Any, levels: int, count: int) -> None:
    """Descend from the root of a trie to `count` evenly spaced leaves. Raises AssertionError if one is not found."""
    import torch

    leaves = torch.unique(torch.linspace(0, trie.size - 1, count).long())
    first, last = torch.zeros(1, dtype=torch.long), torch.tensor([trie.size])
    for level in range(levels):
        children = trie.expand(level, first, last)
        node = torch.unique(torch.searchsorted(children.first, leaves, right=True) - 1)
        first, last = children.first[node], children.last[node]
    assert torch.equal(first, leaves)


def resident_mb(kind: str = "RssAnon") -> float:
    """Resident memory of this process in MB. kind: RssAnon without mapped files, or VmRSS with them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(kind)).split()[1]) / 1024


def command(
    share: Annotated[
        float, typer.Option(help="Fraction of the full sizes: 320,000 vectors; 8.8 and 3.2 million docids.")
    ] = 1.0,
    only: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Measure time and memory of building docids for 320,000 vectors, and tries for 8.8 and 3.2 million docids.

    Each part runs in a separate process, so that its peak memory can be measured. The peak includes the input (the
    vectors take 983 MB) and Python's libraries; "build MB" is the additional memory for building a trie, including the
    trie. Prints a table and writes runs/benchmark_docids/results.json.
    """
    if only is not None:
        result = benchmark_build(only, int(BUILD_DOCUMENTS * share)) if only in BUILDS else benchmark_trie(only, share)
        print(json.dumps(result))
        return
    results = {}
    table = Table(title=f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for column in ("part", "documents", "seconds", *MEMORY_COLUMNS):
        table.add_column(column, justify="left" if column == "part" else "right")
    for name in (*BUILDS, *TRIES):
        arguments = [sys.executable, __file__, "--only", name, "--share", str(share)]
        process = subprocess.run(arguments, check=True, capture_output=True, text=True)
        results[name] = result = json.loads(process.stdout.splitlines()[-1])
        cells = [f"{result[column]:,.0f}" if column in result else "" for column in MEMORY_COLUMNS]
        table.add_row(name, f"{result['documents']:,}", f"{result['seconds']:.1f}", *cells)
        console.print(f"{name}: {result}", style="dim")
    console.print(table)
    write_json(FOLDER / "results.json", results)


if __name__ == "__main__":
    run_command(command, "benchmark_docids")

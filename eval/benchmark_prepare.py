"""benchmark_prepare: time and memory of the MS MARCO builds, on a synthetic file of a million documents."""

import gzip
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from genir.console import console, track
from genir.files import atomic_file, write_json
from genir.pipeline.command import run_command

FOLDER = Path("runs") / "benchmark_prepare"
PUBLISHED = ("msmarco-doc-top300k", "msmarco-doc")
CLICKED = 0.1  # share of the documents, as in MS MARCO (319,927 of 3,213,835)
WORDS = 1100  # mean of a document: 22 GB are 6.9 kB each
POOL = 2_000  # texts that the documents' parts are drawn from; making every one anew would take longer than the build


def write_raw(folder: Path, documents: int, seed: int = 0) -> float:
    """Write MS MARCO's nine raw files; return the size of the documents, unpacked, in GB."""
    rng = np.random.default_rng(seed)
    clicked = rng.choice(documents, int(documents * CLICKED), replace=False)
    train = np.concatenate([clicked, rng.choice(clicked, len(clicked) // 7)])  # 1.15 clicks for each document
    test = rng.choice(documents, documents // 600, replace=False)
    size = 0
    with atomic_file(folder / "msmarco-docs.tsv.gz", "wb") as raw, gzip.open(raw, "wb", compresslevel=1) as handle:
        for row, body in enumerate(track(bodies(documents, rng), "writing documents", documents)):
            size += handle.write(
                f"D{row}\thttp://site{row % 997}.org/page/{row}\tTitle of {row}\t".encode() + body + b"\n"
            )
    write_split(folder, "doctrain", "0", train.tolist())
    write_split(folder, "docdev", "1", test.tolist())
    for year in ("2019", "2020"):
        rows = test[:43].tolist()
        queries = "".join(f"{year}{place}\ttopic {place}\n" for place in range(len(rows)))
        with gzip.open(folder / f"msmarco-test{year}-queries.tsv.gz", "wt") as handle:
            handle.write(queries)
        judgments = "".join(f"{year}{place} 0 D{row} 2\n" for place, row in enumerate(rows))
        (folder / f"{year}qrels-docs.txt").write_text(judgments)
    return size / 1e9


def bodies(count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Texts of `WORDS` words in the mean and of very different lengths, each from four parts of a pool."""
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    words = [rng.choice(letters, size).tobytes() for size in rng.integers(2, 11, 50_000)]
    lengths = rng.lognormal(np.log(WORDS / 4) - 0.5, 1.0, POOL).astype(int) + 1
    pool = [b" ".join(words[i] for i in np.minimum(rng.zipf(1.2, n), len(words)) - 1) for n in lengths]
    for _ in range(count):
        yield b" ".join(pool[i] for i in rng.integers(0, POOL, 4))


def write_split(folder: Path, name: str, prefix: str, rows: list[int]) -> None:
    """One query and one judgment for each of `rows`."""
    with gzip.open(folder / f"msmarco-{name}-queries.tsv.gz", "wt") as handle:
        handle.writelines(f"{prefix}{place}\twhat is said of {row}\n" for place, row in enumerate(rows))
    with gzip.open(folder / f"msmarco-{name}-qrels.tsv.gz", "wt") as handle:
        handle.writelines(f"{prefix}{place} 0 D{row} 1\n" for place, row in enumerate(rows))


def measure(build: str) -> dict[str, Any]:
    """The prepare stage in a process of its own: seconds, peak memory and what it wrote."""
    config = FOLDER / f"{build}.yaml"
    config.write_text(
        f"collection: {{path: {FOLDER / 'raw'}, build: {build}, expect_counts: false, dev_fraction: 0.01}}\n"
        f"folder: {FOLDER}\n"
    )
    subprocess.run([sys.executable, "-m", "genir", "prepare", config, "--force"], check=True, stdout=subprocess.DEVNULL)
    record = json.loads((FOLDER / build / "stage.json").read_text())["prepare"]
    card = json.loads((FOLDER / build / "collection" / "card.json").read_text())
    size = (FOLDER / build / "collection" / "corpus.jsonl").stat().st_size
    shutil.rmtree(FOLDER / build)
    return {
        "documents": card["documents"]["count"],
        "seconds": record["seconds"],
        "peak MB": record["peak_memory_mb"],
        "written GB": size / 1e9,
    }


def command(
    documents: Annotated[int, typer.Option(help="In the synthetic file.", min=6000)] = 1_000_000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the synthetic files for another time.")] = False,
) -> None:
    """Make synthetic raw files of MS MARCO's format and length, build msmarco-doc-top300k and msmarco-doc from them.

    Needs about 12 GB of disk for a million documents. Prints a table and writes runs/benchmark_prepare/results.json.
    """
    raw = FOLDER / "raw"
    started = time.perf_counter()
    if not (raw / "2020qrels-docs.txt").exists():
        raw.mkdir(parents=True, exist_ok=True)
        size = write_raw(raw, documents)
        console.print(f"raw files: {size:.1f} GB of documents, made in {time.perf_counter() - started:.0f} s")
    shown = Table(title=f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    for column in ("build", "documents", "seconds", "peak MB", "written GB"):
        shown.add_column(column, justify="left" if column == "build" else "right")
    results = {}
    for build in PUBLISHED:
        results[build] = row = measure(build)
        cells = (f"{row['documents']:,}", f"{row['seconds']:.0f}", f"{row['peak MB']:,}", f"{row['written GB']:.2f}")
        shown.add_row(build, *cells)
    console.print(shown)
    write_json(FOLDER / "results.json", results)
    if not keep:
        shutil.rmtree(raw)


if __name__ == "__main__":
    run_command(command, "benchmark_prepare")

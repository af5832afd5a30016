"""benchmark_prepare: time and memory of preparing MS MARCO's document collections, on synthetic raw files."""

import gzip
import json
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from genir.console import console, track
from genir.files import atomic_file, write_json
from genir.pipeline.command import run_command

FOLDER = Path("runs") / "benchmark_prepare"
COLLECTIONS = ("msmarco-doc-top300k", "msmarco-doc")
CLICKED_FRACTION = 0.1
"""Fraction of the documents that were clicked, as in MS MARCO (319,927 of 3,213,835)."""
MEAN_WORDS = 1100
"""Mean number of words in a document: MS MARCO's 22 GB are 6.9 kB per document."""
POOL_SIZE = 2_000
"""Number of texts from which a document's four parts are drawn. Generating new text for each document would take longer
than preparing the collection.
"""


def write_raw_files(folder: Path, documents: int, seed: int = 0) -> float:
    """Write MS MARCO's nine raw files for `documents` documents; returns the unpacked size of the documents in GB."""
    rng = np.random.default_rng(seed)
    clicked = rng.choice(documents, int(documents * CLICKED_FRACTION), replace=False)
    train = np.concatenate([clicked, rng.choice(clicked, len(clicked) // 7)])  # 1.15 clicks per clicked document
    test = rng.choice(documents, documents // 600, replace=False)
    size = 0
    with atomic_file(folder / "msmarco-docs.tsv.gz", "wb") as raw, gzip.open(raw, "wb", compresslevel=1) as handle:
        for number, body in enumerate(track(random_bodies(documents, rng), "writing documents", documents)):
            size += handle.write(
                f"D{number}\thttp://site{number % 997}.org/page/{number}\tTitle of {number}\t".encode() + body + b"\n"
            )
    write_split(folder, "doctrain", "0", train.tolist())
    write_split(folder, "docdev", "1", test.tolist())
    for year in ("2019", "2020"):
        write_trec_split(folder, year, test[:43].tolist())
    return size / 1e9


def random_bodies(count: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield texts of very different lengths, `MEAN_WORDS` words on average, each joined from four texts of a pool."""
    letters = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz", np.uint8)
    words = [rng.choice(letters, size).tobytes() for size in rng.integers(2, 11, 50_000)]
    lengths = rng.lognormal(np.log(MEAN_WORDS / 4) - 0.5, 1.0, POOL_SIZE).astype(int) + 1
    pool = [b" ".join(words[i] for i in np.minimum(rng.zipf(1.2, n), len(words)) - 1) for n in lengths]
    for _ in range(count):
        yield b" ".join(pool[i] for i in rng.integers(0, POOL_SIZE, 4))


def write_split(folder: Path, name: str, prefix: str, documents: Sequence[int]) -> None:
    """Write the queries and judgments of a split, with one query and one judgment for each entry of `documents`."""
    with gzip.open(folder / f"msmarco-{name}-queries.tsv.gz", "wt") as handle:
        handle.writelines(f"{prefix}{query}\twhat is said of {number}\n" for query, number in enumerate(documents))
    with gzip.open(folder / f"msmarco-{name}-qrels.tsv.gz", "wt") as handle:
        handle.writelines(f"{prefix}{query} 0 D{number} 1\n" for query, number in enumerate(documents))


def write_trec_split(folder: Path, year: str, documents: Sequence[int]) -> None:
    """Write the topics and judgments of a TREC Deep Learning track, with one topic for each document."""
    with gzip.open(folder / f"msmarco-test{year}-queries.tsv.gz", "wt") as handle:
        handle.writelines(f"{year}{topic}\ttopic {topic}\n" for topic in range(len(documents)))
    judgments = "".join(f"{year}{topic} 0 D{number} 2\n" for topic, number in enumerate(documents))
    (folder / f"{year}qrels-docs.txt").write_text(judgments)


def measure(name: str) -> dict[str, Any]:
    """Run the prepare stage in a separate process; returns its seconds, peak memory and output size."""
    config = FOLDER / f"{name}.yaml"
    config.write_text(
        f"collection: {{path: {FOLDER / 'raw'}, published: {name}, expect_counts: false, dev_fraction: 0.01}}\n"
        f"runs_dir: {FOLDER}\n"
    )
    subprocess.run([sys.executable, "-m", "genir", "prepare", config, "--force"], check=True, stdout=subprocess.DEVNULL)
    record = json.loads((FOLDER / name / "stage.json").read_text())["prepare"]
    card = json.loads((FOLDER / name / "collection" / "card.json").read_text())
    size = (FOLDER / name / "collection" / "corpus.jsonl").stat().st_size
    shutil.rmtree(FOLDER / name)
    return {
        "documents": card["documents"]["count"],
        "seconds": record["seconds"],
        "peak MB": record["peak_memory_mb"],
        "written GB": size / 1e9,
    }


def make_table(results: Mapping[str, Mapping[str, Any]]) -> Table:
    """Make a table of the measurements of each collection, titled with the name of this machine's processor."""
    shown = Table(title=f"{platform.processor() or platform.machine()}, Python {platform.python_version()}")
    shown.add_column("collection")
    for column in ("documents", "seconds", "peak MB", "written GB"):
        shown.add_column(column, justify="right")
    for name, row in results.items():
        cells = (f"{row['documents']:,}", f"{row['seconds']:.0f}", f"{row['peak MB']:,}", f"{row['written GB']:.2f}")
        shown.add_row(name, *cells)
    return shown


def command(
    documents: Annotated[int, typer.Option(help="Documents in the synthetic raw files.", min=6000)] = 1_000_000,
    keep: Annotated[bool, typer.Option("--keep", help="Keep the raw files for the next call.")] = False,
) -> None:
    """Measure the prepare stage for msmarco-doc-top300k and msmarco-doc, on synthetic raw files in MS MARCO's format.

    The documents have lengths like those of MS MARCO. A million documents need about 12 GB of disk space. Prints a
    table and writes runs/benchmark_prepare/results.json.
    """
    raw = FOLDER / "raw"
    started = time.perf_counter()
    if not (raw / "2020qrels-docs.txt").exists():
        raw.mkdir(parents=True, exist_ok=True)
        size = write_raw_files(raw, documents)
        console.print(f"raw files: {size:.1f} GB of documents, written in {time.perf_counter() - started:.0f} s")
    results = {name: measure(name) for name in COLLECTIONS}
    console.print(make_table(results))
    write_json(FOLDER / "results.json", results)
    if not keep:
        shutil.rmtree(raw)


if __name__ == "__main__":
    run_command(command, "benchmark_prepare")

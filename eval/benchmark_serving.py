"""benchmark_serving: how many requests a second `genir serve` answers, how fast, and whether it lasts."""

import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from statistics import median
from typing import Annotated, NamedTuple
from urllib.parse import urlencode

import numpy as np
import typer
from rich.table import Table

from genir.collection.prepared import PreparedCollection
from genir.console import console
from genir.errors import GenirError
from genir.files import write_json
from genir.pipeline.command import run_command

FOLDER = Path("runs") / "benchmark_serving"
WARM_UP_SECONDS = 5
SOAK_LOAD = 0.9
"""Share of the measured load under which the service is kept."""
SETTLE_SECONDS = 60
"""Time after which the memory of a soak is measured for the first time."""


class Answer(NamedTuple):
    """The status of one request, 0 if there was none, and the seconds that it took."""

    status: int
    seconds: float


class Server(NamedTuple):
    """A running service: its process id and its port."""

    pid: int
    port: int


@contextmanager
def running_server(folder: str, options: Sequence[str]) -> Iterator[Server]:
    """Start `genir serve` on a free port, and end it afterwards. Raises GenirError if it does not start."""
    arguments = [sys.executable, "-m", "genir", "serve", folder, "--port", "0", *options]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        lines, last = iter(process.stderr.readline, ""), ""
        for last in lines:
            if found := re.search(r"running on \S+:(\d+) ", last):
                break
        else:
            raise GenirError(f"{folder}: the service did not start: {last.strip() or 'it gave no reason'}")
        threading.Thread(target=lambda: [print(line, end="", file=sys.stderr) for line in lines], daemon=True).start()
        yield Server(process.pid, int(found[1]))
    finally:
        process.terminate()
        process.wait()


def send_requests(port: int, paths: Iterator[str], clients: int, wait: Callable[[], float | None]) -> list[Answer]:
    """Send requests from several clients, each of which has one connection and waits for its answer.

    wait: called before each request; it returns when the time of the request begins, or None at the end.
    """
    answers: list[Answer] = []
    lock = threading.Lock()

    def run_client() -> None:
        connection = HTTPConnection("127.0.0.1", port, timeout=60)
        while (start := wait()) is not None:
            with lock:
                path = next(paths)
            status = 0
            try:
                connection.request("GET", path)
                response = connection.getresponse()
                response.read()
                status = response.status
            except (OSError, HTTPException):
                connection.close()  # the next request opens it again
            answers.append(Answer(status, time.monotonic() - start))

    threads = [threading.Thread(target=run_client) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def stop_after(seconds: float) -> Callable[[], float | None]:
    """A `wait` for requests that follow each other without a pause."""
    end = time.monotonic() + seconds

    def wait() -> float | None:
        now = time.monotonic()
        return now if now < end else None

    return wait


def keep_pace(rate: float, seconds: float) -> Callable[[], float | None]:
    """A `wait` for requests that begin at equal distances, `rate` a second, whether or not others are answered."""
    begin, numbers, lock = time.monotonic(), itertools.count(), threading.Lock()

    def wait() -> float | None:
        with lock:
            due = begin + next(numbers) / rate
        if due > begin + seconds:
            return None
        time.sleep(max(0, due - time.monotonic()))
        return due

    return wait


def summarize(answers: Sequence[Answer], seconds: float) -> dict[str, float]:
    """Requests a second, the median and the 99th percentile of their milliseconds, and how many failed."""
    times = np.array([answer.seconds for answer in answers]) * 1000
    good = sum(answer.status == 200 for answer in answers)
    return {
        "requests/s": good / seconds,
        "median ms": float(np.median(times)),
        "p99 ms": float(np.percentile(times, 99)),
        "errors": len(answers) - good,
    }


def measure(port: int, paths: Iterator[str], clients: int, rounds: int, seconds: float) -> list[dict[str, float]]:
    """Measure one client and several by turns; the results of all rounds, of one client and of several."""
    send_requests(port, paths, clients, stop_after(WARM_UP_SECONDS))
    found: dict[int, list[Answer]] = {1: [], clients: []}
    for _ in range(rounds):
        for count, answers in found.items():
            answers += send_requests(port, paths, count, stop_after(seconds))
    return [{"clients": count} | summarize(answers, rounds * seconds) for count, answers in found.items()]


def measure_soak(server: Server, paths: Iterator[str], clients: int, rate: float, minutes: float) -> dict[str, float]:
    """Send `rate` requests a second for some minutes; the memory of the service (PSS, in MB) is taken each second."""
    memory: list[float] = []
    has_ended = threading.Event()

    def observe() -> None:
        while not has_ended.wait(1):
            memory.append(memory_mb(server.pid))

    observer = threading.Thread(target=observe)
    observer.start()
    seconds = minutes * 60
    # More clients than are needed on average, so that a request begins on time while others wait.
    answers = send_requests(server.port, paths, 4 * clients, keep_pace(rate, seconds))
    has_ended.set()
    observer.join()
    settled = memory[SETTLE_SECONDS:] or memory
    size = max(1, len(settled) // 10)
    first, last = median(settled[:size]), median(settled[-size:])
    return (
        {"minutes": minutes, "rate": rate}
        | summarize(answers, seconds)
        | {"memory MB": last, "growth MB": last - first}
    )


def memory_mb(pid: int) -> float:
    """The memory of a process and its children in MB; what several processes share is divided among them (PSS)."""
    total = 0.0
    with suppress(OSError):
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        total = int(next(line.split()[1] for line in text.splitlines() if line.startswith("Pss:"))) / 1024
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        total += sum(memory_mb(int(child)) for child in children)
    return total


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The folder of a finished run.")],
    clients: Annotated[int, typer.Option(help="Clients that send requests at the same time.", min=2)] = 16,
    workers: Annotated[int, typer.Option(help="Processes of the service.", min=1)] = 1,
    rounds: Annotated[int, typer.Option(help="How often one client and several are measured by turns.", min=1)] = 5,
    seconds: Annotated[float, typer.Option(help="Length of each measurement.", min=0.1)] = 6,
    soak: Annotated[bool, typer.Option("--soak", help="Then keep the service under 90 % of the load.")] = False,
    minutes: Annotated[float, typer.Option(help="Length of the soak.", min=0.1)] = 30,
) -> None:
    """Start genir serve on a retriever, and send it the queries of the run's test split over HTTP.

    The clients are in this process, the service in another one. Prints requests a second and latencies, of one client
    and of several, and writes them to runs/benchmark_serving/NAME.json.
    """
    queries = PreparedCollection(Path(run) / "collection").queries("test")
    paths = itertools.cycle([f"/search?{urlencode({'query': query.text})}" for query in queries])
    with running_server(run, ["--workers", str(workers)]) as server:
        results = measure(server.port, paths, clients, rounds, seconds)
        memory = memory_mb(server.pid)
        show(f"{run}: {len(queries):,} queries, {workers} worker(s), {memory:.0f} MB (PSS)", results)
        ratio = results[1]["requests/s"] / results[0]["requests/s"]
        tail = results[1]["p99 ms"] / results[1]["median ms"]
        console.print(f"{clients} clients: {ratio:.2f} times the requests of one, p99 is {tail:.1f} times the median")
        record = {"workers": workers, "memory_mb": memory, "results": results, "ratio": ratio}
        if soak:
            rate = SOAK_LOAD * results[1]["requests/s"]
            found = measure_soak(server, paths, clients, rate, minutes)
            show(f"{minutes:g} minutes at {SOAK_LOAD:.0%} of this load", [found])
            record |= {"soak": found}
    write_json(FOLDER / f"{Path(run).resolve().name}.json", record)
    if any(result["errors"] for result in [*results, *([found] if soak else [])]):
        raise GenirError(f"some requests failed; {json.dumps(record)}")


def show(title: str, results: Sequence[dict[str, float]]) -> None:
    """Print results as a table."""
    table = Table(*results[0], title=title, title_justify="left")
    for result in results:
        table.add_row(*(f"{value:.1f}" if isinstance(value, float) else f"{value:,}" for value in result.values()))
    console.print(table)


if __name__ == "__main__":
    run_command(command, "benchmark_serving")

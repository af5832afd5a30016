"""Several processes that serve the same socket, forked from one that has loaded the retriever.

They share the memory of the libraries, of the model's weights and of the indexes, since nobody writes to it.
"""

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from types import FrameType

_LOG = logging.getLogger("genir.serving")
_POLL_SECONDS = 0.5
_RESTART_SECONDS = 1.0


def run_workers(
    count: int,
    serve: Callable[[], None],
    grace: float,
    on_end: Callable[[int], None] = lambda pid: None,
    on_stop: Callable[[], None] = lambda: None,
) -> None:
    """Run `serve` in forked processes until SIGTERM or Ctrl-C, which is passed on to them.

    A process that ends before that is replaced after a second. grace: seconds after which processes are killed that
    have not ended by themselves. on_end: called with the id of each process that has ended. on_stop: called when the
    signal has come, before it is passed on. The caller must have no threads, and must not use a GPU. If the caller is
    killed, they end as after SIGTERM.

    `serve` must not compute with torch in the main thread: the OpenMP threads with which the caller has computed do not
    survive the fork, and the main thread would wait for them forever. Other threads start their own.
    """
    context = multiprocessing.get_context("fork")
    parent = os.getpid()

    def start() -> BaseProcess:
        process = context.Process(target=_serve_in_child, args=(serve, parent))
        process.start()
        return process

    with _ending_on_signals() as has_ended:
        workers = [start() for _ in range(count)]
        while not has_ended():
            connection.wait([worker.sentinel for worker in workers], _POLL_SECONDS)
            ended = [worker for worker in workers if not worker.is_alive()]
            if ended and not has_ended():
                time.sleep(_RESTART_SECONDS)
            for worker in ended:
                on_end(worker.pid or 0)
                if not has_ended():
                    _LOG.error(
                        "worker %s has ended with status %s; another one is started", worker.pid, worker.exitcode
                    )
                    workers[workers.index(worker)] = start()
        on_stop()
        _end(workers, grace)


def divide_threads(workers: int) -> None:
    """Divide the cores among the processes, unless the user has set the number of threads (OMP_NUM_THREADS)."""
    import torch

    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        torch.set_num_threads(max(1, cores // workers))


def _serve_in_child(serve: Callable[[], None], parent: int) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)  # until the server has its own handlers
    threading.Thread(target=_end_after, args=(parent,), name="parent watcher", daemon=True).start()
    serve()


def _end_after(parent: int) -> None:
    """Send SIGTERM to this process once its parent has ended, because otherwise it would keep the port."""
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGTERM])  # signals are for the main thread
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def _end(workers: list[BaseProcess], grace: float) -> None:
    """Send SIGTERM to processes until they have ended, and kill those that have not after the time of grace."""
    deadline = time.monotonic() + grace + 5
    while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
        for worker in workers:
            worker.terminate()
        connection.wait([worker.sentinel for worker in workers if worker.is_alive()], _POLL_SECONDS)
    for worker in workers:
        worker.kill()
        worker.join()


@contextmanager
def _ending_on_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGTERM or Ctrl-C has been received."""
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        received.append(number)

    numbers = [x for x in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(x) is not signal.SIG_IGN]
    handlers = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

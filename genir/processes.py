"""Work that is divided over the processes of one job, as `torchrun` and `accelerate launch` start them.

The main process decides, prints and writes files; the others compute their share. Without a launcher there is one
process, and nothing here imports torch. The connections are those of torch.distributed.
"""

import atexit
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

from genir.errors import GenirError

T = TypeVar("T")

TIMEOUT = timedelta(days=7)
"""How long a process waits for the others: the main process may index a large collection for hours."""


def count_processes() -> int:
    """The number of processes of this job."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def process_index() -> int:
    """The number of this process in its job, from 0."""
    return int(os.environ.get("RANK", "0")) if count_processes() > 1 else 0


def is_main_process() -> bool:
    """Whether this is the process that decides, prints and writes files."""
    return process_index() == 0


def uses_fsdp() -> bool:
    """Whether `accelerate launch` asks for FSDP, which shards the weights over the processes."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def run_on_main(function: Callable[[], T]) -> T:
    """Call a function in the main process only, and return its result in all processes, which wait for it.

    The main process does not wait for the others.
    """
    if count_processes() == 1:
        return function()
    found: list[Any] = [function() if is_main_process() else None]
    with _connection() as distributed:
        distributed.broadcast_object_list(found, src=0)
    result: T = found[0]
    return result


def wait_for_all() -> None:
    """Wait until all processes have called this function."""
    gather_shares([])


def require_single_process() -> None:
    """Raise GenirError if a launcher has started several processes: only `genir run` and its stages are divided."""
    if count_processes() > 1:
        raise GenirError("this command is not divided over processes; start it without torchrun or accelerate launch")


def take_share(items: Sequence[T]) -> list[T]:
    """The items that this process computes: process r of R takes the items r, r + R, and so on."""
    return [items[i] for i in range(process_index(), len(items), count_processes())]


def gather_shares(results: Sequence[T]) -> list[T]:
    """Return in all processes the results of all, in the order of the items of which each took its share."""
    if count_processes() == 1:
        return list(results)
    shares: list[list[T]] = [[] for _ in range(count_processes())]
    with _connection() as distributed:
        distributed.all_gather_object(shares, list(results))
    return [shares[i % len(shares)][i // len(shares)] for i in range(sum(map(len, shares)))]


@contextmanager
def _connection() -> Iterator[Any]:
    """Connect this process to the others of its job; raises LostConnection if one of them has ended."""
    import torch

    distributed: Any = torch.distributed
    with explain_lost_connection():
        if not distributed.is_initialized():
            if torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
            distributed.init_process_group(timeout=TIMEOUT)
            atexit.register(_disconnect)
        yield distributed


def _disconnect() -> None:
    """Close the connections of this process; if it ended with them open, their threads would sometimes abort it."""
    import torch

    distributed: Any = torch.distributed
    if distributed.is_initialized():
        distributed.destroy_process_group()
        # Sharded tensors keep gloo's threads. One of them may still be about to free a tensor of the last collective,
        # for which it needs the interpreter, and it aborts the process if that is gone. A sleep lets it go first.
        time.sleep(0.2)


class LostConnection(GenirError):
    """The connection to another process of the job failed, usually because that process has ended."""


@contextmanager
def explain_lost_connection() -> Iterator[None]:
    """Turn the errors by which torch.distributed reports a failed connection into LostConnection."""
    try:
        yield
    except RuntimeError as error:
        if count_processes() == 1 or not any(word in str(error).lower() for word in ("gloo", "nccl", "peer", "socket")):
            raise
        atexit.unregister(_disconnect)  # which may wait for a process that has ended
        reason = str(error).splitlines()[0]
        raise LostConnection(f"the connection to another process of this job failed ({reason})") from error

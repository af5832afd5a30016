"""Worker processes that prepare training batches while the model computes: how many, and their errors.

They are those of torch's DataLoader. The examples and their order do not depend on their number.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from genir.errors import GenirError

MAX_WORKERS = 8
"""Workers of each training process, unless the setting says otherwise: as many as keep a GPU busy."""


def count_workers(setting: int | None) -> int:
    """The number of workers of this training process, for the setting `workers`.

    None means, if the model is on a GPU, one for each CPU core of the process but one, and at most MAX_WORKERS; on a
    CPU, which the workers would only take from the model, none.
    """
    if setting is not None:
        return setting
    if not torch.cuda.is_available():
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(0, min(MAX_WORKERS, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")) - 1))


@contextmanager
def using_workers() -> Iterator[None]:
    """Start the workers of a training inside this context.

    Tokenizers run on one thread meanwhile, since threads do not survive the fork of a worker. An error of a worker is
    raised as it would be without workers, and GenirError if a worker was killed.
    """
    name = "TOKENIZERS_PARALLELISM"
    before = os.environ.get(name)
    os.environ[name] = "false"
    try:
        yield
    except GenirError as error:  # torch adds the traceback of the worker before the message, which has one line
        if not str(error).startswith("Caught "):
            raise
        raise GenirError(str(error).rstrip().splitlines()[-1].partition(": ")[2]) from None
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        reason = str(error).splitlines()[0]
        raise GenirError(
            f"a process that prepares batches has ended ({reason}); if memory ran out, lower the setting workers"
        ) from error
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before

"""Runs genir's commands in forked children of a process that has already imported genir, so that one takes no import.

The parent must have a single thread when it forks; `prepare_parent` sees to that for torch, BLAS and tokenizers.
"""

import importlib.util
import multiprocessing
import os
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
HAS_MODELS = importlib.util.find_spec("sentence_transformers") is not None
"""Whether the extra `embed` is installed, without which there is no dense expert."""
ENVIRONMENT = {
    "COLUMNS": "200",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


class Outcome(NamedTuple):
    """How a child ended, and what it wrote to stdout and stderr.

    code: the exit status; minus the number of the signal that ended the child; None if it was stopped after the time
    limit.
    """

    code: int | None
    output: str
    errors: str


def prepare_parent() -> None:
    """Import all of genir and its programs, with libraries that start no threads."""
    os.environ.update(ENVIRONMENT)
    import torch

    import genir

    torch.set_num_threads(1)
    if HAS_MODELS:
        importlib.import_module("sentence_transformers")  # genir imports it when it is first used
    names = [module.name for module in pkgutil.walk_packages(genir.__path__, "genir.")]
    for folder in ("indexing", "eval"):
        names += [f"{folder}.{path.stem}" for path in sorted((ROOT / folder).glob("*.py"))]
    for name in names:
        # The modules of genir.integrations need libraries that may not be installed, and no command imports them.
        if not any(word in name for word in ("benchmark", "__main__", "integrations")):
            importlib.import_module(name)


def run_child(action: Callable[[], None], folder: Path, logs: Path, timeout: float = 120) -> Outcome:
    """Run a function in a forked child whose working directory is `folder`, and wait for it.

    logs: an existing folder for the files that receive the child's stdout and stderr. timeout: seconds after which the
    child is stopped.
    """
    output, errors = logs / f"{os.getpid()}.out", logs / f"{os.getpid()}.err"
    sys.stdout.flush()
    sys.stderr.flush()
    child = multiprocessing.get_context("fork").Process(target=_run, args=(action, folder, output, errors))
    child.start()
    child.join(timeout)
    code = child.exitcode
    if code is None:
        child.kill()
        child.join()
    child.close()
    return Outcome(code, *(path.read_text(encoding="utf-8", errors="replace") for path in (output, errors)))


def _run(action: Callable[[], None], folder: Path, output: Path, errors: Path) -> None:
    """The child: redirect stdout and stderr, and call the function."""
    for path, stream in ((output, sys.stdout), (errors, sys.stderr)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(descriptor, stream.fileno())
        os.close(descriptor)
    os.chdir(folder)
    action()


def run_genir(*arguments: str) -> None:
    """Run `genir ARGUMENTS` in this process, which it may end with SystemExit."""
    from genir import cli

    sys.argv = ["genir", *arguments]
    cli.main()

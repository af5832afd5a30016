"""Python processes for tests, which are forked from one that has imported the large libraries already.

A new interpreter computes for seconds until it has imported torch and transformers. A fork takes milliseconds, and is
a process like any other: it imports all of genir anew, and has arguments, environment, working directory, standard
streams and exit status of its own.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from multiprocessing import forkserver
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
LIBRARIES = [
    "torch",
    "transformers.models.t5.modeling_t5",
    "transformers.models.auto.tokenization_auto",
    "scipy.stats",
    "sklearn.decomposition",
    "sklearn.feature_extraction.text",
    "matplotlib.pyplot",
    "bm25s",
    "ir_measures",
    "pydantic.json_schema",
    "pydantic.main",
    "typer.rich_utils",
    "rich.progress",
]
"""What is imported before a fork: libraries that genir needs, but nothing of genir."""
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
"""Variables with which the libraries start no threads, which would not survive a fork."""


def run_python(arguments: Sequence[str | Path], cwd: Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run Python with the arguments `-m MODULE ...`, `-c CODE ...` or `SCRIPT ...`, and wait for it.

    text: its standard input; a surrogate stands for a byte that is not valid UTF-8.
    """
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / name for name in ("stdin", "stdout", "stderr")]
        files[0].write_text(text, encoding="utf-8", errors="surrogateescape")
        process = start_python(words, cwd, files)
        process.join()
        output, errors = (file.read_text(encoding="utf-8") for file in files[1:])
        return subprocess.CompletedProcess(words, process.exitcode or 0, output, errors)


def start_python(words: list[str], cwd: Path, files: Sequence[Path]) -> Any:
    """Start Python with some arguments, and return its process. files: its stdin, stdout and stderr."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "120"}
    process = _fork_server().Process(target=_run, args=(words, cwd, environment, files))
    process.start()
    return process


def run_genir(
    *arguments: str | int | Path, cwd: Path, status: int = 0, text: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run `genir ARGUMENTS`, which must end with the exit status `status`."""
    done = run_python(["-m", "genir", *map(str, arguments)], cwd, text)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@cache
def read_help(*command: str) -> str:
    """Return what `genir COMMAND --help` prints."""
    return run_genir(*command, "--help", cwd=ROOT).stdout


@cache
def _fork_server() -> Any:
    """Start the process with the libraries."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(LIBRARIES)
    with patch.dict(os.environ, ONE_THREAD):
        forkserver.ensure_running()
    return context


def _run(arguments: list[str], cwd: Path, environment: Mapping[str, str], files: Sequence[Path]) -> None:
    """The child: take on the standard streams, environment and working directory, and run the program."""
    for descriptor, file in enumerate(files):
        opened = os.open(file, os.O_RDWR | os.O_CREAT)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.stdin = os.fdopen(0, encoding="utf-8")  # multiprocessing has replaced it
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path.insert(0, str(cwd if arguments[0] in ("-m", "-c") else Path(arguments[0]).parent))
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = list(arguments)
        runpy.run_path(arguments[0], run_name="__main__")

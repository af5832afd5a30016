"""Signals to real processes: one line on stderr, and the exit status 130 or 143."""

import re
import signal
import subprocess
import sys

import pytest

from tests.helpers.processes import run_genir
from tests.helpers.small_run import SMALL, write_small_run

COMMAND = """
import signal, sys
from pathlib import Path
from genir.files import atomic_file
from genir.pipeline.command import run_command

folder = Path(sys.argv.pop())

def command() -> None:
    '''Wait for a signal while a file is being written.'''
    with atomic_file(folder / "result.txt"):
        print("waiting", flush=True)
        while True:
            signal.pause()

run_command(command, "wait")
"""
BEFORE = "import signal\nfrom genir.pipeline.interrupts import handle_signals\nhandle_signals()\n"
IGNORED_BY_PYTHON = """
class Deleted:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)

Deleted()
print("not reached")
"""
CHANGED_BY_A_LIBRARY = """
try:
    signal.raise_signal(signal.SIGTERM)
except BaseException:
    raise ImportError("failed") from None
"""
DURING_A_LONG_CLEANUP = """
try:
    signal.raise_signal(signal.SIGTERM)
finally:
    while True:
        signal.raise_signal(signal.SIGINT)
"""


FORKED = """
import os
child = os.fork()
if child == 0:
    signal.raise_signal(signal.SIGINT)
    signal.raise_signal(signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def start(*arguments, interrupt=signal.SIG_DFL, **options):
    """Start Python; interrupt: what Ctrl-C does to it at first, which shells change for commands in the background."""
    return subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt), **options,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "library", "number", "line"),
    [
        (["-m", "genir", "docids"], "genir.errors", signal.SIGTERM, "terminated"),
        (["-m", "genir", "docids"], "numpy", signal.SIGINT, "interrupted"),
        (["indexing/build_docids.py"], "numpy", signal.SIGINT, "interrupted"),
    ],
)
def test_a_signal_while_libraries_are_imported_ends_the_program(root, program, library, number, line):
    process = start("-X", "importtime", *program, cwd=root)  # prints a line for each module that has been imported
    for imported in process.stderr:
        if imported.endswith(f" {library}\n"):
            process.send_signal(number)
            break
    output, printed = process.communicate()
    assert (process.returncode, output) == (128 + number, "")
    assert [x for x in printed.splitlines() if not re.match("import time:", x)] == [line]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("signals", "line"),
    [([signal.SIGINT, signal.SIGINT], "interrupted"), ([signal.SIGTERM, signal.SIGTERM], "terminated")],
)
def test_signals_to_a_running_command_remove_its_temporary_files(tmp_path, signals, line):
    process = start("-c", COMMAND, str(tmp_path))
    assert process.stdout.readline() == "waiting\n"
    assert len(list(tmp_path.iterdir())) == 1
    for number in signals:
        process.send_signal(number)
    _, printed = process.communicate()
    assert (process.returncode, printed) == (128 + signals[0], f"{line}\n")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("script", "status", "line"),
    [
        (IGNORED_BY_PYTHON, 130, "interrupted\n"),
        (CHANGED_BY_A_LIBRARY, 143, "terminated\n"),
        (DURING_A_LONG_CLEANUP, 143, "terminated\n"),
    ],
)
def test_a_signal_ends_the_program_wherever_it_arrives(script, status, line):
    process = start("-c", BEFORE + script)
    assert process.communicate() == ("", line)
    assert process.returncode == status


def test_a_signal_that_the_parent_process_ignores_stays_ignored():
    script = BEFORE + "signal.raise_signal(signal.SIGINT)\nprint('goes on')"
    process = start("-c", script, interrupt=signal.SIG_IGN)
    assert process.communicate() == ("goes on\n", "")
    assert process.returncode == 0


def test_forked_processes_ignore_ctrl_c_and_end_silently_when_they_are_terminated():
    process = start("-c", BEFORE + FORKED)
    assert process.communicate() == ("143\n", "")


@pytest.mark.slow
def test_a_killed_training_continues_from_its_checkpoint(tmp_path):
    write_small_run(tmp_path)
    long = [*SMALL, "name=killed", "sft.phases.0.steps=100000", "sft.patience=1000"]
    run_genir("run", "small.yaml", *SMALL, "name=killed", "--until", "docids", cwd=tmp_path)
    process = subprocess.Popen(
        [sys.executable, "-m", "genir", "train", "small.yaml", *long], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    for line in process.stderr:
        if "step 60:" in line:
            process.send_signal(signal.SIGKILL)
            break
    process.wait()
    process.stderr.close()
    checkpoints = tmp_path / "runs" / "killed" / "checkpoints" / "sft" / "phase-1"
    last = max(int(path.parent.name.split("-")[1]) for path in checkpoints.glob("checkpoint-*/manifest.json"))
    process = subprocess.Popen(
        [sys.executable, "-m", "genir", "train", "small.yaml", *long], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    )
    steps = (int(match[1]) for line in process.stderr if (match := re.search(r"step (\d+)", line)))
    shown = next(steps), next(steps)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stderr.close()
    assert shown == (last, last + 20)  # "continues after step ...", and the next evaluation


@pytest.mark.slow
def test_a_terminated_run_says_how_to_continue_and_leaves_no_temporary_files(tmp_path):
    write_small_run(tmp_path)
    long = [*SMALL, "name=ended", "sft.phases.0.steps=100000", "sft.patience=1000", "sft.workers=1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "genir", "run", "small.yaml", *long],
        cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process.stderr as printed:
        next(line for line in printed if "step 20:" in line)
        process.send_signal(signal.SIGTERM)
        *steps, last = printed.read().splitlines()
    assert process.wait() == 143
    assert last == "terminated; the same command continues sft from here"
    assert all("step" in line for line in steps)
    assert not [path for path in (tmp_path / "runs" / "ended").rglob(".*") if path.suffix in (".tmp", ".old")]

"""Jobs of several processes, which a launcher starts, and the comparison of what they and one process have trained."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from safetensors.torch import load_file

from genir.config import Config

TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2")
"""The module and the arguments of torchrun, with two processes."""


def start_two(
    script: str | Path, *arguments: str | Path, launcher: Sequence[str] = TORCHRUN, **environment: str
) -> tuple[int, str]:
    """Run two processes of a script to their end; returns the exit status and what the job has printed on stderr."""
    found = subprocess.run(
        [sys.executable, "-m", *launcher, str(script), *map(str, arguments)],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)} | environment,
        capture_output=True,
        text=True,
    )
    return found.returncode, found.stderr


def copy_named(prepared: Config, name: str, *overrides: str) -> list[str]:
    """Copy the run folder of a config c.yaml by another name; returns the arguments with which commands use it."""
    shutil.copytree(prepared.run_folder, prepared.run_folder.parent / name)
    return [str(prepared.run_folder.parent.parent / "c.yaml"), f"name={name}", *overrides]


def require_equal_training(folder: Path, other: Path, stage: str) -> None:
    """Check that two run folders have the same weights and log of a stage, except for rounding."""
    first, second = (load_file(x / stage / "model.safetensors") for x in (folder, other))
    assert first.keys() == second.keys()
    assert max(float((first[name] - second[name]).abs().max()) for name in first) < 1e-5
    logs = [json.loads((x / stage / "log.json").read_text()) for x in (folder, other)]
    assert [entry.keys() for entry in logs[0]] == [entry.keys() for entry in logs[1]]
    for one, two in zip(*logs, strict=True):
        assert list(one.values()) == pytest.approx(list(two.values()), rel=1e-3, abs=1e-3)

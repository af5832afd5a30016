"""A process of a job of several: `job_process.py COMMANDS ARGUMENTS` runs `genir COMMAND ARGUMENTS` for each command.

COMMANDS are separated by commas. If the environment variable KILL_AT_STEP is set, the second process kills itself after
this step of a training stage.
"""

import os
import signal
import sys
from typing import Any

from genir.__main__ import main
from genir.processes import process_index
from genir.training.callbacks import ShowProgress


def kill_after_step(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
    if process_index() == 1 and state.global_step == int(os.environ["KILL_AT_STEP"]):
        os.kill(os.getpid(), signal.SIGKILL)


if "KILL_AT_STEP" in os.environ:
    ShowProgress.on_step_end = kill_after_step
commands, *arguments = sys.argv[1:]
for command in commands.split(","):
    sys.argv = ["genir", command, *arguments]
    try:
        main()
    except SystemExit as stop:
        if stop.code:
            raise

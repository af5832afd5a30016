"""A process of a job that resumes: `fsdp_process.py FOLDER CONFIG KEY=VALUE ...` runs `genir train` twice.

The first time, it stops after step 12 of sft. The run folder is then copied to FOLDER/stopped. Before that, each
process writes how many numbers it holds of weights and optimizer state to FOLDER/PROCESS.json.
"""

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from genir.__main__ import main
from genir.config import load_config
from genir.errors import GenirError
from genir.processes import process_index, run_on_main, wait_for_all
from genir.training.callbacks import ShowProgress


def stop_after_step(self: Any, args: Any, state: Any, control: Any, optimizer: Any = None, **kwargs: Any) -> None:
    if state.global_step == 12:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        moments = [x for values in optimizer.state.values() for x in values.values() if x.dim()]
        local = [x.to_local() if hasattr(x, "to_local") else x for x in weights + moments]
        (folder / f"{process_index()}.json").write_text(json.dumps(sum(x.numel() for x in local)))
        raise GenirError("stopped")


folder, arguments = Path(sys.argv[1]), sys.argv[2:]
sys.argv = ["genir", "train", *arguments]
on_step_end, ShowProgress.on_step_end = ShowProgress.on_step_end, stop_after_step
with suppress(SystemExit):
    main()
ShowProgress.on_step_end = on_step_end
wait_for_all()
run_on_main(lambda: shutil.copytree(load_config(arguments[0], arguments[1:]).run_folder, folder / "stopped"))
wait_for_all()
main()

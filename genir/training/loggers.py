"""Loggers of training: TensorBoard, and all others that transformers knows by name."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from genir.errors import GenirError
from genir.processes import is_main_process


def make_loggers(names: Sequence[str], folder: Path) -> list[TrainerCallback]:
    """Make the Trainer callbacks of loggers, by transformers' names; only the main process logs.

    folder: where TensorBoard writes. Raises GenirError for an unknown name, and for a logger that is not installed.
    """
    loggers: list[TrainerCallback] = []
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK:
            raise GenirError(
                f"report_to: unknown logger {name!r}; there are {', '.join(sorted(INTEGRATION_TO_CALLBACK))}"
            )
        make: Any = INTEGRATION_TO_CALLBACK[name]
        if not is_main_process():
            continue
        try:
            loggers.append(make(SummaryWriter(str(folder))) if name == "tensorboard" else make())
        except (RuntimeError, ImportError) as error:
            raise GenirError(f"report_to: {name} cannot be used: {error}") from None
    return loggers

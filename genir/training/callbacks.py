"""Trainer callbacks: the progress bar, the last evaluation, and the mark of a complete checkpoint."""

from pathlib import Path
from typing import Any

from rich.progress import Progress, TaskID
from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from genir.console import progress

COMPLETE = "complete"


class MarkComplete(TrainerCallback):
    """Puts an empty file into a checkpoint once everything of it is written."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint of this step."""
        (Path(str(args.output_dir)) / f"checkpoint-{state.global_step}" / COMPLETE).touch()


class EvaluateLast(TrainerCallback):
    """The last step is measured and kept too, when it is no multiple of eval_steps."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Ask for both."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True


class ShowProgress(TrainerCallback):
    """A bar with the time left, the loss and the last dev measure."""

    def __init__(self, title: str, metric: str) -> None:
        self.title = title
        self.metric = metric
        self.loss = ""
        self.dev = ""
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Open the bar where training begins or resumes."""
        self.bar = progress()
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, note="")
        self.bar.start()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Advance."""
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kw: Any
    ) -> None:
        """Show the newest figures; each dev measure also gets a line of its own that stays."""
        if "loss" in logs:
            self.loss = f"loss {float(logs['loss']):.3f}"
        if (value := logs.get(f"eval_{self.metric}")) is not None:
            self.dev = f"dev {self.metric} {value:.3f}"
            if self.bar is not None:
                self.bar.console.print(f"  step {state.global_step}: {self.dev} {self.loss}")
        if self.bar is not None:
            self.bar.update(self.task, note=f"{self.loss}  {self.dev}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Close the bar."""
        if self.bar is not None:
            self.bar.stop()

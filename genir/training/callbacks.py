"""Trainer callbacks: a progress bar, an evaluation after the last step, and manifests of complete checkpoints."""

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
from genir.files.manifest import write_manifest
from genir.processes import run_on_main, wait_for_all


class MarkComplete(TrainerCallback):
    """Completes each checkpoint folder with a manifest of its files, after all of them are written."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Complete the checkpoint of the current step, when all processes have written their files."""
        wait_for_all()
        run_on_main(lambda: write_manifest(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"))


class EvaluateLastStep(TrainerCallback):
    """Evaluates and saves the model after the last step, even if that step is not a multiple of eval_steps."""

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Request an evaluation and a checkpoint after the last step."""
        if state.global_step >= state.max_steps:
            control.should_evaluate = control.should_save = True


class ShowProgress(TrainerCallback):
    """Shows a progress bar with the remaining time, the loss, and the latest value of the dev measure `metric`."""

    def __init__(self, title: str, metric: str) -> None:
        self.title = title
        self.metric = metric
        self.loss = ""
        self.dev = ""
        self.bar: Progress | None = None
        self.task = TaskID(0)

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Start the bar at the step at which training starts or resumes."""
        self.bar = progress()
        self.task = self.bar.add_task(self.title, total=state.max_steps, completed=state.global_step, note="")
        self.bar.start()
        if state.global_step:
            self.bar.console.print(f"  continues after step {state.global_step}")

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Advance the bar to the current step."""
        if self.bar is not None:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kw: Any
    ) -> None:
        """Show the latest loss and dev measure beside the bar, and print each dev measure on its own line."""
        if "loss" in logs:
            self.loss = f"loss {float(logs['loss']):.3f}"
        if (value := logs.get(f"eval_{self.metric}")) is not None:
            self.dev = f"dev {self.metric} {value:.3f}"
            if self.bar is not None:
                self.bar.console.print(f"  step {state.global_step}: {self.dev} {self.loss}".rstrip())
        if self.bar is not None:
            self.bar.update(self.task, note=f"{self.loss}  {self.dev}")

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kw: Any) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.stop()

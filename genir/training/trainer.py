"""The training loop: `transformers.Trainer` with docid losses, retrieval measures on dev, and exact resumption.

Shapes: B queries, N candidates.
"""

from collections.abc import Callable, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from genir.config import LoopConfig
from genir.files import atomic_folder, explain_os_errors, read_json, write_json
from genir.files.manifest import can_reuse, write_manifest
from genir.model import DocidModel
from genir.processes import explain_lost_connection, run_on_main, wait_for_all
from genir.retriever import Retriever
from genir.t5.loading import load_t5, set_gradient_checkpointing, silence_transformers
from genir.training.arguments import make_training_arguments, split_batch
from genir.training.batch_logps import DocumentScorer
from genir.training.callbacks import EvaluateLastStep, MarkComplete, ShowProgress
from genir.training.checkpoints import find_last_checkpoint
from genir.training.length_groups import LengthGroupCollator
from genir.training.loggers import make_loggers
from genir.training.packing import unpack
from genir.training.precision import autocast
from genir.training.sharding import (
    enable_on_cpus,
    gather_optimizer_state,
    gather_weights,
    load_weights,
    shard_optimizer_state,
    whole_weights,
)
from genir.training.workers import count_workers, using_workers

Loss = Callable[[Tensor, dict[str, Tensor]], Tensor]
"""Log-probs of the documents of a batch [B, N] under the current weights, and the batch -> one value per query [B]."""
Evaluate = Callable[[], dict[str, float]]
"""A function that evaluates the current weights and returns measures by name, among them the setting `metric`."""


@dataclass(frozen=True)
class TrainingJob:
    """The description of one training run: a phase of supervised fine-tuning, or a round of refinement.

    title: label of the progress bar. scorer: what is trained. collator: makes a batch from examples. evaluate: computes
    the dev measures.
    settings: the section of the config that has the settings of the training loop. checkpoints: folder for checkpoints.
    report_to: names of loggers (`genir.training.loggers`). log_folder: folder for the TensorBoard log.
    """

    title: str
    scorer: DocumentScorer
    examples: Dataset[Any]
    collator: Callable[[Sequence[Any]], dict[str, Tensor]]
    loss: Loss
    evaluate: Evaluate
    settings: LoopConfig
    steps: int
    learning_rate: float
    seed: int
    checkpoints: Path
    log_folder: Path
    report_to: Sequence[str] = ("tensorboard",)


def supervised_loss(logps: Tensor, batch: dict[str, Tensor]) -> Tensor:
    """The loss of supervised fine-tuning, -log p(d | text) [B], for the one document of each text."""
    return -logps[:, 0]


def run_phase(
    number: int, work: Path, retriever: Retriever, make_job: Callable[[], TrainingJob]
) -> list[dict[str, Any]]:
    """Run phase (or round) `number` of a training stage, set the retriever's model to the best weights, return the log.

    A finished phase leaves its weights and log in `work`/done-NUMBER. If that folder exists, it is loaded, and make_job
    is not called.
    """
    done = work / f"done-{number}"
    if not run_on_main(lambda: can_reuse(done)):
        job = make_job()
        entries = [dict(sorted((entry | {"phase": number}).items())) for entry in train(job)]
        weights = gather_weights(job.scorer.t5)
        run_on_main(lambda: _save_phase(job.scorer, weights, entries, done))
    retriever.model = DocidModel(load_t5(str(done)), retriever.model.layout, retriever.model.softmax_over)
    log = list(read_json(done / "log.json"))
    wait_for_all()  # the main process may delete the folder next
    return log


def _save_phase(
    scorer: DocumentScorer, weights: dict[str, Tensor], log: Sequence[Mapping[str, Any]], done: Path
) -> None:
    """Write the weights and the log of a finished phase to the folder `done`."""
    with atomic_folder(done) as folder, silence_transformers():
        scorer.t5.save_pretrained(folder, state_dict=weights)
        write_json(folder / "log.json", list(log))
        write_manifest(folder)


def train(job: TrainingJob) -> list[dict[str, Any]]:
    """Train the job's model in place, restore the weights that were best on dev, and return the log entries.

    The weights before the first step are kept if they are better than all later ones. An interrupted training run
    resumes from its last complete checkpoint and ends with the same weights as an uninterrupted one. With FSDP, the
    weights stay sharded. Raises GenirError if the disk is full.
    """
    settings, t5 = job.settings, job.scorer.t5
    resume = run_on_main(lambda: find_last_checkpoint(job.checkpoints))
    first = {name: weight.detach().cpu().clone() for name, weight in t5.state_dict().items()}
    workers = count_workers(settings.workers)
    micro_batch, accumulation = split_batch(settings.batch_size, settings.micro_batch)
    arguments = make_training_arguments(
        job.checkpoints,
        settings.eval_steps,
        job.seed,
        max_steps=job.steps,
        per_device_train_batch_size=micro_batch,
        gradient_accumulation_steps=accumulation,
        dataloader_num_workers=workers,
        dataloader_multiprocessing_context="fork" if workers else None,  # they share the memory of what is loaded
        learning_rate=job.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(settings.warmup_steps, job.steps // 2),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        eval_on_start=resume is None,
        restore_callback_states_from_checkpoint=True,  # otherwise resuming would reset the count of early stopping
        metric_for_best_model=f"eval_{settings.metric}",
        greater_is_better=True,
        remove_unused_columns=False,
    )
    set_gradient_checkpointing(t5, settings.gradient_checkpointing)
    trainer = DocidTrainer(job, arguments)
    for logger in make_loggers(job.report_to, job.log_folder):
        trainer.add_callback(logger)
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    trainer.add_callback(EvaluateLastStep())
    run_trainer(trainer, ShowProgress(job.title, settings.metric), resume)
    t5.train(False)
    log = list(trainer.state.log_history)
    if is_first_best(log, settings.metric):  # it has no checkpoint, which the Trainer could restore
        load_weights(t5, first)
    return log


def is_first_best(log: Sequence[Mapping[str, Any]], metric: str) -> bool:
    """Whether a dev measure was higher before the first step than in all later entries of a log that have it."""
    before, *later = (entry[f"eval_{metric}"] for entry in log if f"eval_{metric}" in entry)
    return all(value < before for value in later)


def run_trainer(trainer: Trainer, bar: ShowProgress, resume: str | None) -> None:
    """Run a trainer with a progress bar, from the checkpoint `resume`, or from the start if it is None.

    Checkpoints that are completely written are marked as complete. Raises GenirError if the disk is full.
    """
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(bar)
    trainer.add_callback(MarkComplete())
    folder = Path(str(trainer.args.output_dir))
    with silence_transformers(), explain_os_errors(folder), explain_lost_connection(), using_workers():
        trainer.train(resume_from_checkpoint=resume)


class DocidTrainer(Trainer):
    """A Trainer that computes the loss of a training job and evaluates with the job's `evaluate`."""

    def __init__(self, job: TrainingJob, arguments: TrainingArguments) -> None:
        super().__init__(
            model=job.scorer,
            args=arguments,
            data_collator=LengthGroupCollator(job.collator, len(job.scorer.retriever.table), job.scorer.t5.device),
            train_dataset=job.examples,
            eval_dataset=[],
        )
        self.job = job

    def create_accelerator_and_postprocess(self) -> None:
        """Create the accelerator, which shards the weights if `accelerate launch` asks for FSDP."""
        super().create_accelerator_and_postprocess()
        enable_on_cpus(self.accelerator)
        self.is_fsdp_enabled = False  # the Trainer's own checkpoints of sharded weights resume only with FSDP

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Return the mean loss of the batch."""
        batch = unpack(inputs)
        with autocast(self.job.settings.precision, self.args.device):
            logps = model(batch)
        return self.job.loss(logps, batch).mean()

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Evaluate the current weights; return and log the measures."""
        with whole_weights(self.job.scorer):
            metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.job.evaluate().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log values, but not the summary at the end, whose mean loss leaves out the steps before an interruption."""
        if "train_runtime" not in logs:
            super().log(logs, start_time)

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """Take the examples in order: the dataset is already random, and the order must depend only on its seed."""
        return SequentialSampler(cast(Sized, self.train_dataset))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """Create AdamW; the embeddings and the output head get `embedding_lr_multiplier` times the learning rate.

        They need a higher rate because most of their vectors receive a gradient in only a few steps.
        """
        if self.optimizer is None:
            t5 = self.job.scorer.t5
            named = list(t5.named_parameters())
            tables = {id(t5.shared.weight), id(t5.lm_head.weight)}
            rate = self.args.learning_rate
            multiplier = self.job.settings.embedding_lr_multiplier
            groups = [
                {"params": [p for _, p in named if id(p) not in tables], "lr": rate},
                {"params": [p for _, p in named if id(p) in tables], "lr": rate * multiplier},
            ]
            self.optimizer = torch.optim.AdamW(
                groups, lr=rate, betas=(0.9, 0.99), weight_decay=self.args.weight_decay, fused=True
            )
            self.optimizer.register_load_state_dict_pre_hook(shard_optimizer_state)
        return self.optimizer

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """Save the T5, which knows which of its weights are the same tensor."""
        weights = gather_weights(self.job.scorer.t5)
        if self.args.should_save:
            self.job.scorer.t5.save_pretrained(str(output_dir), state_dict=weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        """Save the states of the optimizer and of the learning rate."""
        state, scheduler = gather_optimizer_state(self.optimizer), cast(Any, self.lr_scheduler)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self._load_weights(resume_from_checkpoint)

    def _load_best_model(self) -> None:
        self._load_weights(str(self.state.best_model_checkpoint))

    def _load_weights(self, checkpoint: str) -> None:
        """Load the weights that `_save` wrote; weights that are the same tensor were saved once."""
        load_weights(self.job.scorer.t5, load_file(Path(checkpoint) / "model.safetensors"))

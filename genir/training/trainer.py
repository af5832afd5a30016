"""The one training loop: `transformers.Trainer` with our loss, retrieval measures on dev, and exact resumption."""

from collections.abc import Callable, Sequence, Sized
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, SequentialSampler
from torch.utils.tensorboard import SummaryWriter
from transformers import (
    EarlyStoppingCallback,
    PrinterCallback,
    Trainer,
    TrainingArguments,
)
from transformers.integrations.integration_utils import TensorBoardCallback

from genir.config import LoopConfig
from genir.files import clear_os_errors
from genir.model import DocidModel
from genir.t5.loading import silence_transformers
from genir.training.callbacks import EvaluateLast, MarkComplete, ShowProgress
from genir.training.checkpoints import last_checkpoint

Loss = Callable[[DocidModel, dict[str, Tensor]], Tensor]
Evaluate = Callable[[], dict[str, float]]


class Places(NamedTuple):
    """Where a training keeps its checkpoints and its TensorBoard log."""

    checkpoints: Path
    log: Path


def negative_log_likelihood(model: DocidModel, batch: dict[str, Tensor]) -> Tensor:
    """The SFT loss: -log p(docid | text), one value a query [B], averaged over its N = 1 candidates."""
    encoded = model.encode(batch["input_ids"], batch["attention_mask"])
    return -model.sequence_logps(encoded, batch["codes"]).mean(1)


def fit(
    model: DocidModel,
    examples: Dataset[Any],
    collator: Callable[[Sequence[Any]], dict[str, Tensor]],
    loss: Loss,
    evaluate: Evaluate,
    settings: LoopConfig,
    steps: int,
    learning_rate: float,
    seed: int,
    places: Places,
    title: str,
) -> list[dict[str, Any]]:
    """Train `model` in place and leave it with the weights that were best on dev; return the log, one dict an entry.

    An interrupted training goes on from its last complete checkpoint, to the same weights as an unbroken one.
    """
    resume = last_checkpoint(places.checkpoints)
    arguments = TrainingArguments(
        output_dir=str(places.checkpoints),
        max_steps=steps,
        per_device_train_batch_size=settings.batch_size,
        learning_rate=learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(settings.warmup_steps, steps // 2),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        eval_strategy="steps",
        eval_steps=settings.eval_steps,
        eval_on_start=resume is None,
        save_strategy="steps",
        save_steps=settings.eval_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        restore_callback_states_from_checkpoint=True,  # else a resumed training forgets its patience
        metric_for_best_model=f"eval_{settings.metric}",
        greater_is_better=True,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=seed,
    )
    use_one_gpu(arguments)
    trainer = DocidTrainer(model, loss, evaluate, settings.embedding_lr_multiplier, arguments, examples, collator)
    tensorboard: Any = TensorBoardCallback  # untyped in transformers
    trainer.add_callback(tensorboard(SummaryWriter(str(places.log))))
    trainer.add_callback(EarlyStoppingCallback(settings.patience))
    trainer.remove_callback(PrinterCallback)
    trainer.add_callback(ShowProgress(title, settings.metric))
    trainer.add_callback(MarkComplete())
    trainer.add_callback(EvaluateLast())
    with silence_transformers(), clear_os_errors(places.checkpoints):
        trainer.train(resume_from_checkpoint=resume)
    model.t5.train(False)
    return list(trainer.state.log_history)


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Else transformers makes a batch as many times as large as there are GPUs: another training."""
    arguments._n_gpu = 1


class DocidTrainer(Trainer):
    """A Trainer whose loss sees docids and whose evaluation is a retrieval."""

    def __init__(
        self,
        docid_model: DocidModel,
        loss: Loss,
        measure: Evaluate,
        embedding_lr_multiplier: float,
        arguments: TrainingArguments,
        examples: Dataset[Any],
        collator: Callable[[Sequence[Any]], dict[str, Tensor]],
    ) -> None:
        super().__init__(
            model=docid_model.t5,
            args=arguments,
            data_collator=collator,
            train_dataset=examples,
            eval_dataset=[],
        )
        self.docid_model = docid_model
        self.loss = loss
        self.measure = measure
        self.embedding_lr_multiplier = embedding_lr_multiplier

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:
        """Mean loss of the batch."""
        return self.loss(self.docid_model, inputs).mean()

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """Retrieval measures on dev queries, under their ir-measures names."""
        metrics = {f"{metric_key_prefix}_{name}": value for name, value in self.measure().items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        """The stream is random already, and its order must not depend on anything but its seed."""
        return SequentialSampler(cast(Sized, self.train_dataset))

    def create_optimizer(self, model: nn.Module | None = None) -> torch.optim.Optimizer:
        """AdamW; embeddings and docid head learn at `embedding_rate` times the rate: most rows get few gradients."""
        if self.optimizer is None:
            named = list(self.docid_model.t5.named_parameters())
            tables = {id(self.docid_model.t5.shared.weight), id(self.docid_model.t5.lm_head.weight)}
            rate = self.args.learning_rate
            groups = [
                {"params": [p for _, p in named if id(p) not in tables], "lr": rate},
                {"params": [p for _, p in named if id(p) in tables], "lr": rate * self.embedding_lr_multiplier},
            ]
            self.optimizer = torch.optim.AdamW(
                groups, lr=rate, betas=(0.9, 0.99), weight_decay=self.args.weight_decay, fused=True
            )
        return self.optimizer

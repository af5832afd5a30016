"""The arguments that all trainings pass to `transformers.Trainer`, and how a batch is divided over processes."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainingArguments

from genir.errors import GenirError
from genir.processes import count_processes


def split_batch(batch_size: int, micro_batch: int | None) -> tuple[int, int]:
    """Divide a batch over the processes of the job: the examples that each computes at once, and how many times.

    micro_batch: largest number of examples that a process computes at once; None means no limit. Raises GenirError if
    the batch cannot be divided evenly.
    """
    own, rest = divmod(batch_size, count_processes())
    if rest:
        raise GenirError(
            f"batch_size={batch_size} cannot be divided evenly over {count_processes()} processes; choose a multiple"
        )
    largest = min(own, micro_batch or own)
    size = next(size for size in range(largest, 0, -1) if own % size == 0)
    return size, own // size


def make_training_arguments(checkpoints: Path, eval_steps: int, seed: int, **others: Any) -> TrainingArguments:
    """Return the TrainingArguments that all training runs have in common, extended by `others`.

    The model is evaluated and saved to `checkpoints` every `eval_steps` steps, and the best weights are restored at the
    end. Each process uses one GPU.
    """
    arguments = TrainingArguments(
        output_dir=str(checkpoints),
        eval_strategy="steps",
        eval_steps=eval_steps,
        save_strategy="steps",
        save_steps=eval_steps,
        save_total_limit=2,
        load_best_model_at_end=True,
        logging_steps=10,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=torch.cuda.is_available(),
        # transformers connects several processes on CPUs only on request.
        use_cpu=not torch.cuda.is_available() and count_processes() > 1,
        ddp_find_unused_parameters=True,  # those of the decoder, in a batch of docids of one code
        seed=seed,
        **others,
    )
    # With several GPUs, transformers would multiply the batch size by their number, which would change the results.
    arguments._n_gpu = 1
    arguments.mixed_precision = "no"  # `accelerate launch` has a setting of its own; see `genir.training.precision`
    return arguments

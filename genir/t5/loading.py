"""Loading Hugging Face seq2seq models, and correcting how transformers ties and saves their heads."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import T5ForConditionalGeneration

from genir.errors import GenirError


def load_t5(name: str, device: str | torch.device | None = None) -> T5ForConditionalGeneration:
    """Load a T5 by Hugging Face name or folder, as `load_seq2seq` does. Raises GenirError for any other model."""
    model = load_seq2seq(name, device)
    if not isinstance(model, T5ForConditionalGeneration):
        raise GenirError(f"{name}: is a {type(model).__name__}, but a T5 is needed")
    if model.lm_head.weight is not model.shared.weight:
        model.config.tie_word_embeddings = False  # transformers 5 loses this, and would save the opposite
    return model


def load_seq2seq(name: str, device: str | torch.device | None = None) -> Any:
    """Load a seq2seq model by Hugging Face name or folder, in fp32 and evaluation mode.

    device: device of the model; by default CUDA if there is a GPU, else the CPU.
    Code in the model's folder is never run. Raises GenirError if there is no such model, if its file is damaged, or if
    its weights do not fit its config: transformers would initialise what is missing at random.
    """
    model: nn.Module
    try:
        with silence_transformers():
            model, info = transformers.AutoModelForSeq2SeqLM.from_pretrained(
                name, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
            )
    except (OSError, ValueError) as error:
        raise GenirError(f"{name}: cannot be loaded as a seq2seq model: {str(error).splitlines()[0]}") from None
    except SafetensorError as error:
        raise GenirError(f"{name}/model.safetensors: damaged ({error}); copy or download the folder again") from None
    except RuntimeError as error:  # of shapes that differ
        raise GenirError(f"{name}: its weights do not have the shapes of its config.json ({error})") from None
    if missing := sorted(info["missing_keys"]):
        raise GenirError(f"{name}: its weights lack {len(missing)} tensors of its config.json, such as {missing[0]}")
    if extra := sorted(key for key in info["unexpected_keys"] if ".block." in key):
        raise GenirError(
            f"{name}: its weights have {len(extra)} tensors of layers that its config.json lacks: {extra[0]}"
        )
    return model.to(_choose_device(device))


def _choose_device(device: str | torch.device | None) -> torch.device:
    """Return a device that can be used, by default a GPU if there is one; raise GenirError if it cannot be used."""
    try:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        found = torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = (str(error).splitlines() or [""])[0]
        raise GenirError(f"the device {device!r} cannot be used: {reason}") from None
    if found.type == "meta":
        raise GenirError(f"the device {device!r} cannot be used: its tensors have no values")
    return found


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Suppress the warnings of transformers about untied heads, and its progress bars for files."""
    log: Any = transformers.logging
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def untie(model: T5ForConditionalGeneration, head: Tensor) -> None:
    """Give the model a separate head [V, D], both in memory and in the files that it is saved to.

    transformers 5 ties the head of every new or resized T5 to its embedding, whatever the config says.
    """
    model.lm_head.weight = nn.Parameter(head)
    model.config.tie_word_embeddings = False
    model.all_tied_weights_keys.pop("lm_head.weight", None)


def set_dropout(model: T5ForConditionalGeneration, rate: float) -> None:
    """Set the dropout rate of all layers and of the attention weights, in place."""
    model.config.dropout_rate = rate
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):  # dropout of the attention weights
            setattr(module, "dropout", rate)  # noqa: B010


def set_gradient_checkpointing(model: T5ForConditionalGeneration, enabled: bool) -> None:
    """Choose whether the backward pass computes the activations of each layer again, instead of keeping them."""
    method: Any = model.gradient_checkpointing_enable if enabled else model.gradient_checkpointing_disable
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of its new name, which earlier releases do not have
        method(*([{"use_reentrant": False}] if enabled else []))

"""Loading Hugging Face seq2seq models, and mending what transformers changes about their heads."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import T5ForConditionalGeneration

from genir.errors import GenirError


def set_dropout(model: T5ForConditionalGeneration, rate: float) -> None:
    """The dropout of all layers and of the attention weights, in place."""
    model.config.dropout_rate = rate
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        elif isinstance(getattr(module, "dropout", None), float):  # of the attention weights
            setattr(module, "dropout", rate)  # noqa: B010


def load_t5(name: str, device: str | torch.device | None = None) -> T5ForConditionalGeneration:
    """`load_seq2seq`, of a T5; anything else raises GenirError."""
    model = load_seq2seq(name, device)
    if not isinstance(model, T5ForConditionalGeneration):
        raise GenirError(f"{name}: is a {type(model).__name__}, but a T5 is needed")
    if model.lm_head.weight is not model.shared.weight:
        model.config.tie_word_embeddings = False  # transformers 5 forgets it, and would save the opposite
    return model


def load_seq2seq(name: str, device: str | torch.device | None = None) -> Any:
    """`from_pretrained` onto a device (default: CUDA where there is one, else the CPU), in fp32 and evaluation mode;
    GenirError when the name leads nowhere or to a damaged file.
    """
    try:
        with silence_transformers():
            model: nn.Module = transformers.AutoModelForSeq2SeqLM.from_pretrained(name, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise GenirError(f"{name}: cannot be loaded as a seq2seq model: {str(error).splitlines()[0]}") from None
    except SafetensorError as error:
        raise GenirError(f"{name}/model.safetensors: damaged ({error}); copy or download the folder again") from None
    return model.to(device or ("cuda" if torch.cuda.is_available() else "cpu"))


@contextmanager
def silence_transformers() -> Iterator[None]:
    """Silence transformers: it warns that an untied head is untied, and its bars for each file clutter the terminal."""
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
    """Give the model a head of its own [V, D], in memory and in what is saved: transformers 5 ties every fresh or
    resized T5, whatever its config says.
    """
    model.lm_head.weight = nn.Parameter(head)
    model.config.tie_word_embeddings = False
    model.all_tied_weights_keys.pop("lm_head.weight", None)

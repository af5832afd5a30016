"""Mixed precision: bf16 matrix products in training, with weights, softmaxes and prior masses in fp32.

Weights in bf16 would lose small updates, and T5's activations overflow in fp16, so neither is offered.
"""

from contextlib import AbstractContextManager
from typing import Literal

import torch

from genir.errors import GenirError

Precision = Literal["auto", "fp32", "bf16"]


def uses_bf16(precision: Precision) -> bool:
    """Whether a setting means bf16 on this machine; "auto" does on GPUs that have it.

    Raises GenirError if a GPU does not have the bf16 that was asked for.
    """
    has_gpu = torch.cuda.is_available()
    if precision == "auto":
        return has_gpu and torch.cuda.is_bf16_supported(including_emulation=False)
    if precision == "bf16" and has_gpu and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise GenirError(f"precision=bf16: {torch.cuda.get_device_name()} does not have bf16; use precision=fp32")
    return precision == "bf16"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """A context in which the matrix products have the precision of training; reference and policy must agree in it."""
    context: AbstractContextManager[None] = torch.autocast(device.type, torch.bfloat16, uses_bf16(precision))
    return context

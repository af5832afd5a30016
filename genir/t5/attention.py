"""Building blocks of T5's attention that self-attention and cross-attention share.

They run the layers of a Hugging Face T5, and their results equal that model's.

Shapes: n sequences, T decoder tokens, C tokens attended to, D model width, H heads, E width of a head.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import T5ForConditionalGeneration


def decoder_blocks(t5: T5ForConditionalGeneration) -> Any:
    """The blocks of the decoder, first to last."""
    return t5.decoder.block


def linear(layer: Any, states: Tensor) -> Tensor:
    """Apply a linear layer without bias: [..., in] -> [..., out].

    On a CPU and without gradients, 8 to 16 states are multiplied as (W x^T)^T, for which MKL needs a third to a half
    less time.
    """
    flat = states.flatten(0, -2)
    output: Tensor
    if states.device.type == "cpu" and 8 <= len(flat) <= 16 and not torch.is_grad_enabled():
        output = (layer.weight @ flat.t()).t().reshape(*states.shape[:-1], -1)
    else:
        output = layer(states)
    return output


def norm(layer_norm: Any, states: Tensor) -> Tensor:
    """Apply T5's layer norm. Without gradients it runs one kernel instead of Hugging Face's six."""
    output: Tensor
    if torch.is_grad_enabled():
        output = layer_norm(states)  # rms_norm has the same values, but sums its gradient in another order
    else:
        output = functional.rms_norm(states, states.shape[-1:], layer_norm.weight, layer_norm.variance_epsilon)
    return output


def split_heads(attention: Any, states: Tensor) -> Tensor:
    """Split the last dimension into heads: [n, T, H * E] -> [n, H, T, E]."""
    return states.view(len(states), -1, attention.n_heads, attention.key_value_proj_dim).transpose(1, 2)


def attend(attention: Any, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Compute attention without a scale, as in T5: softmax(q k + bias) v.

    query [n, H, T, E], key and value [n, H, C, E], bias broadcastable to [n, H, T, C] -> [n, T, H * E], heads joined.
    """
    weights = (query @ key.transpose(-1, -2) + bias).float().softmax(-1).type_as(query)
    weights = functional.dropout(weights, attention.dropout, attention.training)
    joined = (weights @ value).transpose(1, 2)
    return joined.reshape(*joined.shape[:2], attention.inner_dim)

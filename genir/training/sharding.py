"""Training with sharded weights (FSDP): each process holds a part of the weights, gradients and optimizer state.

`accelerate launch` asks for it in its config file, and accelerate shards what a trainer prepares. All weights are one
unit of FSDP: a step gathers them before its forward pass and frees them after its backward pass. Smaller units would be
gathered within the passes, where processes would wait for each other forever, since how often a process runs the
encoder and the decoder depends on the texts of its batch. All processes use the same weights, though, since all docids
have the first node of the trie in common at which they branch. Checkpoints hold whole tensors, so that a training can
resume with or without FSDP.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator, DistributedType, FullyShardedDataParallelPlugin
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor, distribute_tensor

from genir.processes import is_main_process, uses_fsdp


def enable_on_cpus(accelerator: Accelerator) -> None:
    """Let an accelerator of processes on CPUs shard the weights, if `accelerate launch` asks for FSDP.

    torch can do this on CPUs, but accelerate takes notice of its own setting only if the processes have GPUs.
    """
    state = accelerator.state
    if uses_fsdp() and state.distributed_type == DistributedType.MULTI_CPU:
        state.fsdp_plugin = FullyShardedDataParallelPlugin()  # with the settings that `accelerate launch` passes on
        state.distributed_type = DistributedType.FSDP


@contextmanager
def whole_weights(model: nn.Module) -> Iterator[None]:
    """A context in which each process has all weights of a sharded model; other models do not change."""
    if not isinstance(model, FSDPModule):
        yield
        return
    model.unshard()
    try:
        yield
    finally:
        model.reshard()


def gather_weights(model: nn.Module) -> dict[str, Tensor]:
    """Gather the weights of a model by name, which all processes must do together; weights that are tied stay tied.

    The main process gets those of a sharded model on the CPU, the others empty tensors.
    """
    gathered = {weight: _gather(weight.detach()) for weight in model.parameters()}
    return {name: gathered[weight] for name, weight in model.named_parameters(remove_duplicate=False)}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load whole weights into a model, sharded or not, in place; a name that is missing is tied to another."""
    own = dict(model.named_parameters(remove_duplicate=False))
    model.load_state_dict({name: _shard(weight, own[name]) for name, weight in weights.items()}, strict=False)


def gather_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """Gather the state of an optimizer, as `state_dict` returns it; processes and devices as in `gather_weights`."""
    state: dict[str, Any] = optimizer.state_dict()
    whole = {i: {name: _gather(x) for name, x in values.items()} for i, values in state["state"].items()}
    return state | {"state": whole}


def shard_optimizer_state(optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> dict[str, Any]:
    """Shard the state that an optimizer is to load as its weights are sharded.

    It is a hook for `Optimizer.register_load_state_dict_pre_hook`.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    sharded = {i: {name: _shard(x, weights[i]) for name, x in values.items()} for i, values in state["state"].items()}
    return state | {"state": sharded}


def _gather(x: Any) -> Any:
    """The whole tensor of a sharded one, on the CPU of the main process; anything else is returned unchanged."""
    if not isinstance(x, DTensor):
        return x
    whole = x.full_tensor()
    return whole.cpu() if is_main_process() else whole.new_empty(0)


def _shard(x: Any, weight: Tensor) -> Any:
    """This process's shard of a tensor that belongs to a sharded weight; anything else is returned unchanged.

    An optimizer also keeps numbers for a weight, such as that of its steps, which are not sharded.
    """
    if not isinstance(weight, DTensor) or x.shape != weight.shape:
        return x
    return distribute_tensor(x.to(weight.device), weight.device_mesh, weight.placements, src_data_rank=None)

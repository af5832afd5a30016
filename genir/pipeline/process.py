"""The process that runs a stage: its threads, its peak memory, its libraries, and what its launcher may ask for."""

import contextlib
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

from genir.config import Config
from genir.errors import GenirError
from genir.processes import count_processes, uses_fsdp

_FSDP_SETTINGS = {
    "fsdp_version": ("1", "2"),
    "fsdp_auto_wrap_policy": ("NO_WRAP", "NO_WRAP"),
    "fsdp_cpu_ram_efficient_loading": ("false", "false"),
    "fsdp_offload_params": ("false", "false"),
    "fsdp_activation_checkpointing": ("false", "false"),
    "fsdp_ignored_modules": ("null", "null"),
}
"""Settings of FSDP in accelerate's config: what each is if it is not given, and what training needs it to be."""


def set_process_defaults() -> None:
    """Set the environment variables that torch and tokenizers read when they are imported; users may override them.

    OpenMP threads sleep while they wait, since spinning would take time from other processes. The tokenizers library
    starts no threads, which would not survive a fork.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def prepare_process(config: Config) -> None:
    """Set the number of torch's threads, if torch has been imported, and restart the memory meter.

    Raises GenirError if `accelerate launch` asks for something that genir does not have.
    """
    _require_supported_launch()
    if "torch" in sys.modules:
        import torch

        given = os.environ.get("OMP_NUM_THREADS")  # torch reads it itself
        is_default = count_processes() > 1 and given == "1"  # torchrun's, if the user has not set it
        if config.threads or not given or is_default:
            local = int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if count_processes() > 1 else 1
            torch.set_num_threads(config.threads or max(1, _usable_cores() // local))
    restart_memory_meter()


def _require_supported_launch() -> None:
    """Raise GenirError if accelerate's config asks for another way to divide a training than genir has."""
    for name in ("DeepSpeed", "Megatron_LM", "parallelism_config"):
        if os.environ.get(f"ACCELERATE_USE_{name.upper()}", "false").lower() == "true":
            raise GenirError(f"accelerate launch asks for {name}, which genir does not have; choose multi-GPU or FSDP")
    for name, (default, needed) in _FSDP_SETTINGS.items() if uses_fsdp() else ():
        given = os.environ.get(name.upper(), default)
        if given.lower() != needed.lower():
            raise GenirError(
                f"accelerate launch asks for FSDP with {name}: {given}; set {name}: {needed} in accelerate's config "
                "(see docs/training.md)"
            )


def _usable_cores() -> int:
    """The number of cores that this process may use, which a scheduler or container may have limited."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def torch_threads() -> int | None:
    """The number of torch's threads, or None if torch has not been imported."""
    if "torch" not in sys.modules:
        return None
    import torch

    return torch.get_num_threads()


def restart_memory_meter() -> None:
    """Restart the measurement of `peak_memory_mb`, so that each stage gets its own figure (only on Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory_mb() -> float:
    """Peak resident memory in MB since the meter was restarted (on Linux) or since the process began (elsewhere)."""
    try:
        line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (1024**2 if sys.platform == "darwin" else 1024)


def library_versions() -> dict[str, str]:
    """The versions of Python and of the libraries that results depend on."""
    names = ("genir", "torch", "transformers", "numpy", "ir-measures")
    return {"python": platform.python_version()} | {name: importlib.metadata.version(name) for name in names}


def require_even_batches(config: Config) -> None:
    """Raise GenirError if the batch of a training stage cannot be divided evenly over the processes of the job."""
    sizes = {f"{name}.batch_size": getattr(config, name).batch_size for name in config.training_stages}
    if config.queries.tune_steps:
        sizes["queries.batch_size"] = config.queries.batch_size
    for key, size in sizes.items():
        if size % count_processes():
            raise GenirError(
                f"{key}={size} cannot be divided evenly over {count_processes()} processes; choose a multiple of it"
            )

"""The device of a benchmark: its clock, its rate of matrix products, and moving batches to it."""

import time
from typing import Any

import torch
from torch import Tensor


def read_clock() -> float:
    """Read the time after the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def move_to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors of a batch, which may have batches in it, to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device)
    if isinstance(batch, dict):
        return {name: move_to_device(value, device) for name, value in batch.items()}
    return [move_to_device(value, device) for value in batch]


def measure_matmul_rate(bf16: bool, device: torch.device) -> float:
    """Measure how many floating-point operations per second a large matrix product takes."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16 if bf16 else torch.float32) for _ in range(2))
    times = []
    for _ in range(10):
        started = read_clock()
        torch.mm(a, b)
        times.append(read_clock() - started)
    return float(2 * size**3 / min(times))

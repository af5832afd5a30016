"""The device of a benchmark: its clock and its rate of matrix products."""

import time

import torch


def read_clock() -> float:
    """Read the time after the device has finished its work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


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

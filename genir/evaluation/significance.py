"""Bootstrap intervals and paired significance tests."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats


class Interval(NamedTuple):
    """A mean over queries with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float
    queries: int


def bootstrap_interval(values: Sequence[float], resamples: int, seed: int) -> Interval:
    """Percentile bootstrap over queries; nan for none, no width for one."""
    if len(values) < 2:
        mean = float(np.mean(values)) if values else float("nan")
        return Interval(mean, mean, mean, len(values))
    result = stats.bootstrap(
        (np.asarray(values),), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(seed)
    )
    low, high = result.confidence_interval
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def paired_test(a: Sequence[float], b: Sequence[float], seed: int) -> float:
    """p of the two-sided paired randomisation test (Smucker et al., CIKM 2007) that a and b have the same mean."""
    difference = np.asarray(a) - np.asarray(b)
    if not difference.any():
        return 1.0
    result = stats.permutation_test(
        (difference, np.zeros_like(difference)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,
        batch=500,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> NDArray[np.float64]:
    """Holm's step-down correction: adjusted p values, which bound the chance of any false discovery among them."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted

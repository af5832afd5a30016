"""Bootstrap confidence intervals and paired significance tests over queries."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLED_AT_ONCE = 10_000_000
"""Values that one batch of bootstrap samples holds, which keeps it below 100 MB."""


class Interval(NamedTuple):
    """A mean over queries, its 95 % bootstrap confidence interval, and the number of queries."""

    mean: float
    low: float
    high: float
    queries: int


def bootstrap_interval(values: Sequence[float], resamples: int, seed: int) -> Interval:
    """Compute the mean of `values`, one per query, with its 95 % percentile bootstrap interval.

    resamples: number of bootstrap samples. One value gives an interval of zero width; no values give NaN.
    """
    if len(values) < 2:
        mean = float(np.mean(values)) if values else float("nan")
        return Interval(mean, mean, mean, len(values))
    from scipy import stats  # slow to import, and only the last stages of the pipeline need it

    result = stats.bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=resamples,
        batch=max(1, RESAMPLED_AT_ONCE // len(values)),
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    low, high = result.confidence_interval
    return Interval(float(np.mean(values)), float(low), float(high), len(values))


def paired_test(a: Sequence[float], b: Sequence[float], seed: int) -> float:
    """Return the p value of a two-sided paired randomisation test of the hypothesis that a and b have the same mean.

    a, b: one value per query, in the same order. The signs of the differences are flipped at random 9,999 times, or in
    all combinations if there are no more than that (Smucker et al., CIKM 2007).
    """
    difference = np.asarray(a) - np.asarray(b)
    if not difference.any():
        return 1.0
    from scipy import stats

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
    """Adjust p values by Holm's step-down procedure, which bounds the probability of any false rejection among them."""
    p = np.asarray(p_values, dtype=float)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted

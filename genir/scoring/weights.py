"""Fitting the weight of an expert: the one under which the relevant documents of queries are most likely."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from genir.scoring.lexical import LexicalIndex

MAX_WEIGHT = 10.0
STEPS = 100
"""Scores are rounded to 1 / STEPS, so that a query takes a histogram of its scores instead of millions of matches."""


def fit_weight(index: LexicalIndex, texts: Sequence[str], relevant: Sequence[Sequence[int]]) -> float:
    """Find the weight w >= 0 that maximises the mean log p(d | q), where p(d | q) is proportional to exp(w s(q, d)).

    texts: the queries. relevant: the indices of the relevant documents of each query; of several, the mean counts. The
    problem is convex (maximum likelihood of a log-linear model with one parameter). The weight is at most MAX_WEIGHT.
    """
    histograms = []
    for text, doc_indices in zip(texts, relevant, strict=True):
        matches = index.score(text)
        counts = np.bincount(np.rint(matches.scores * STEPS).astype(np.int64), minlength=1)
        counts[0] += len(index) - len(matches.scores)
        steps = np.flatnonzero(counts)
        positive = matches.scores[np.isin(matches.positions, doc_indices)].sum() / len(doc_indices)
        histograms.append((steps / STEPS, np.log(counts[steps]), float(positive)))

    def loss(weight: float) -> float:
        total = sum(logsumexp(weight * scores + counts) - weight * positive for scores, counts, positive in histograms)
        return float(total / len(histograms))

    return float(minimize_scalar(loss, bounds=(0, MAX_WEIGHT), method="bounded", options={"xatol": 1e-3}).x)

"""Fitting experts to a collection: the parameters under which the relevant documents of queries are most likely.

The score of a document is the sum of w_e s_e(q, d) over the experts e, where s_e is BM25 with its own k1 and b or the
score of a dense expert, and p(d | q) is proportional to exp(score). All parameters of all experts are fitted together,
by the gradient of the likelihood.

Shapes: Q queries, E experts, N documents, s slots (pairs of a query and a document with one of its terms), p postings.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor

from genir.scoring.dense import DenseIndex
from genir.scoring.lexical import Entries, LexicalIndex

MAX_POSTINGS = 20_000_000
"""Queries are left out of a fit when those before them have so many postings, since all of these are in memory."""
SMALLEST_K1, LARGEST_K1 = 0.05, 20.0
BOUNDS = [(math.log(SMALLEST_K1), math.log(LARGEST_K1)), (0.0, 1.0), (0.0, 10.0)]
"""Where log k1, b and the weight are searched."""
DEVIATIONS = (1.0, 0.5, 1.0)
"""The standard deviations of the prior of log k1, b and the weight."""


class ExpertParameters(NamedTuple):
    """The parameters of an expert. k1, b: those of BM25; a dense expert has none. weight: the factor of its scores."""

    k1: float
    b: float
    weight: float


class GivenParameters(NamedTuple):
    """Those parameters that are not fitted; None for those that are."""

    k1: float | None = None
    b: float | None = None
    weight: float | None = None


def fit_parameters(
    indexes: Sequence[LexicalIndex | DenseIndex],
    texts: Sequence[str],
    relevant: Sequence[Sequence[int]],
    expected: Sequence[ExpertParameters],
    given: Sequence[GivenParameters],
    ignored: Sequence[Sequence[int]] | None = None,
) -> list[ExpertParameters]:
    """Find the parameters of each expert that minimise the mean of -log p(d | q) over the relevant documents.

    indexes [E]: the experts. texts [Q]: queries. relevant [Q]: the numbers of the relevant documents of each; of
    several, the mean counts. expected [E]: the centre of a weak prior, which decides if there are no queries and keeps
    a few of them from choosing extreme values. given [E]: what is not fitted. ignored [Q]: the numbers of the documents
    that do not count for each query, such as that of the query itself; None means that all count.
    """
    filled = [_fill(parameters, defaults) for parameters, defaults in zip(given, expected, strict=True)]
    centre = np.array([(math.log(max(k1, SMALLEST_K1)), b, weight) for k1, b, weight in filled])
    if not texts:
        return filled
    is_free = np.array([[value is None for value in parameters] for parameters in given])
    loss = _Likelihood(indexes, texts, relevant, centre, ignored or [()] * len(texts))
    start = centre.copy()
    # From a weight of 0, the gradient would not say which k1 and b are better.
    start[is_free[:, 2], 2] = start[is_free[:, 2], 2].clip(min=0.3)
    limits = np.where(is_free[..., None], np.array(BOUNDS), centre[..., None])
    point = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", bounds=limits.reshape(-1, 2)).x
    found = [ExpertParameters(math.exp(log_k1), b, weight) for log_k1, b, weight in point.reshape(-1, 3).tolist()]
    return [_fill(parameters, fitted) for parameters, fitted in zip(given, found, strict=True)]


def _fill(given: GivenParameters, others: ExpertParameters) -> ExpertParameters:
    """Return the given parameters, and those of `others` where none are given."""
    return ExpertParameters(*(o if g is None else g for g, o in zip(given, others, strict=True)))


class _Likelihood:
    """The loss as a function of the parameters of all experts. centre [E, 3]: that of the prior."""

    def __init__(
        self,
        indexes: Sequence[LexicalIndex | DenseIndex],
        texts: Sequence[str],
        relevant: Sequence[Sequence[int]],
        centre: NDArray[np.float64],
        ignored: Sequence[Sequence[int]],
    ) -> None:
        self._centre = centre
        self._is_bm25 = [isinstance(index, LexicalIndex) for index in indexes]
        self._postings: list[list[tuple[Tensor, ...]]] = [[] for _ in indexes]
        query, others, wanted, shares = [], [], [], []
        slots = total = 0
        parts_of = zip(*(index.find_entries(texts) for index in indexes), strict=True)
        for number, (found_entries, documents, left_out) in enumerate(zip(parts_of, relevant, ignored, strict=True)):
            entries = [_leave_out(part, left_out) for part in found_entries]
            total += sum(len(part.positions) for part in entries)
            if number and total > MAX_POSTINGS:
                break
            matched = np.unique(np.concatenate([part.positions for part in entries]))
            for postings, part in zip(self._postings, entries, strict=True):
                postings.append(_number_slots(part, matched, slots))
            found = np.flatnonzero(np.isin(matched, documents)) + slots
            wanted.append(found)
            shares.append(np.full(len(found), 1 / len(documents)))
            query.append(np.full(len(matched), number))
            others.append(len(indexes[0]) - len(left_out) - len(matched))
            slots += len(matched)
        self._queries = max(1, len(others))
        self._parts = [tuple(map(torch.cat, zip(*part, strict=True))) for part in self._postings if part]
        if others:
            self._query, self._wanted, self._shares = (
                torch.from_numpy(np.concatenate(parts)) for parts in (query, wanted, shares)
            )
            self._others = torch.tensor(others, dtype=torch.float64)

    def __call__(self, point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Compute the loss and its gradient at a point, (log k1, b, weight) of one expert after another [3 E]."""
        parameters = torch.tensor(point, requires_grad=True)
        scores = torch.zeros(len(self._query), dtype=torch.float64)
        for (log_k1, b, weight), (slot, f, length, w), is_bm25 in zip(
            parameters.view(-1, 3), self._parts, self._is_bm25, strict=True
        ):
            log_k1, b = log_k1.float(), b.float()
            values = w * f / (f + log_k1.exp() * (1 - b + b * length)) if is_bm25 else w
            scores = scores.index_add(0, slot, weight * values.double())
        top = torch.zeros_like(self._others).scatter_reduce(0, self._query, scores.detach(), "amax")
        matched = torch.zeros_like(top).index_add(0, self._query, (scores - top[self._query]).exp())
        log_total = (matched + self._others * (-top).exp()).log() + top
        distance = (parameters.view(-1, 3) - torch.from_numpy(self._centre)) / torch.tensor(DEVIATIONS)
        loss = (log_total.sum() - scores[self._wanted] @ self._shares + distance.square().sum() / 2) / self._queries
        loss.backward()  # type: ignore[no-untyped-call]
        assert parameters.grad is not None
        return float(loss.detach()), parameters.grad.numpy()


def _leave_out(entries: Entries, documents: Sequence[int]) -> Entries:
    """Return the postings that are not of some documents."""
    if not documents:
        return entries
    is_kept = ~np.isin(entries.positions, documents)
    positions, frequencies, lengths, weights = entries
    return Entries(positions[is_kept], frequencies[is_kept], lengths[is_kept], weights[is_kept])


def _number_slots(entries: Entries, matched: NDArray[np.int32], first: int) -> tuple[Tensor, ...]:
    """Return the slots, frequencies, lengths and weights of the postings of one query; its first slot is `first`."""
    slot = np.searchsorted(matched, entries.positions) + first
    return tuple(map(torch.from_numpy, (slot, entries.frequencies, entries.lengths, entries.weights)))

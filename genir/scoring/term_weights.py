"""Term weights: how much each term of a query counts in BM25, learned from train queries.

The idf of a term says how rare it is in documents, and nothing of its role in queries: "who" and "movie" ask for a kind
of answer, and need not be in the document. With a weight w_t for each term t, the score of a document is

    s(q, d) = r(q, d) + sum over the terms t of q of w_t b_t(q, d)

where b_t is what t adds by BM25 of words, over all experts that read words, and r is the score by the other experts.
The weights maximise the likelihood of the relevant documents among the candidates of each query, with a normal prior
around 1. This is a convex problem. The deviation of the prior is the one whose weights, learned from three quarters of
the queries, rank the candidates of the others best; if weights of 1 are better still, none are learned. (The likelihood
would choose badly where queries have many relevant documents: there it grows when all documents become more alike.)

Shapes: Q queries, T terms with a weight, c candidates of all queries.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from genir.console import track
from genir.evaluation.measures import measure
from genir.evaluation.trec import Run
from genir.scoring.experts import Experts, rank_matches
from genir.scoring.lexical import LexicalIndex, Matches

CANDIDATES = 100
"""Documents of each query, at most, among which the relevant ones are to be more likely: the best by all experts."""
MIN_QUERIES = 3
"""Terms of fewer train queries have the weight 1."""
DEVIATIONS = (0.8, 0.4, 0.2, 0.1)
"""Standard deviations of the prior of a weight, among which the held-out queries choose."""
HELD_OUT = 0.25
"""Share of the queries that are held out for this choice."""
METRIC = "nDCG@10"
"""The measure of their candidates' rankings that chooses."""


class _Candidates(NamedTuple):
    """The candidates of all queries.

    starts [Q + 1]: where those of each query begin. scores [c]: r, the scores without the terms that have weights.
    shares [c]: 1 / n for the n relevant documents of a query, 0 for others. slots, terms, values: a candidate, a term
    of its query that has a weight, and what the term adds to the score of the candidate.
    """

    starts: NDArray[np.int64]
    scores: NDArray[np.float64]
    shares: NDArray[np.float64]
    slots: NDArray[np.int64]
    terms: NDArray[np.int64]
    values: NDArray[np.float64]

    def score(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Compute s, the scores with the weights [T] of the terms: [c]."""
        return self.scores + np.bincount(self.slots, weights[self.terms] * self.values, len(self.scores))


def fit_term_weights(
    experts: Experts,
    texts: Sequence[str],
    relevant: Sequence[Sequence[int]],
    ignored: Sequence[Sequence[int]] | None = None,
) -> dict[str, float]:
    """Find the weight of each term that at least MIN_QUERIES of the queries contain; none if weights do not help.

    experts: their indexes have no term weights yet. texts [Q]: train queries in a random order. relevant [Q]: the
    leaves of the relevant documents of each; of several, the mean counts. ignored [Q]: the leaves that are no
    candidates of each, such as that of the query itself; None means that there are none.
    """
    words = {
        name: index for name, index in experts.indexes.items() if isinstance(index, LexicalIndex) and not index.ngram
    }
    if not words:
        return {}
    queries = Counter(term for text in texts for term in {*next(iter(words.values())).find_terms(text)})
    numbers = {term: number for number, term in enumerate(sorted(t for t, n in queries.items() if n >= MIN_QUERIES))}
    if not numbers:
        return {}
    candidates = _collect(experts, words, numbers, texts, relevant, ignored or [()] * len(texts))
    deviation = _choose_deviation(candidates, len(numbers))
    if deviation is None:
        return {}
    weights = _minimise(candidates, len(numbers), deviation).tolist()
    return {term: weight for term, weight in zip(numbers, weights, strict=True) if weight != 1}


def summarise_term_weights(weights: Mapping[str, float], shown: int = 5) -> str:
    """Return one line that says how many weights there are, and names the terms with the smallest and the largest."""
    order = sorted(weights, key=weights.__getitem__)
    least, most = (
        ", ".join(f"{t} {weights[t]:.2f}" for t in part) for part in (order[:shown], order[: -shown - 1 : -1])
    )
    return f"the number of learned term weights is {len(weights):,}; the smallest are {least}, the largest {most}"


def _choose_deviation(candidates: _Candidates, terms: int) -> float | None:
    """Choose the deviation of the prior on held-out queries; None if weights of 1 are the best there."""
    queries = len(candidates.starts) - 1
    learned = queries - int(HELD_OUT * queries)
    if learned == queries:
        return None
    train, held_out = _select(candidates, 0, learned), _select(candidates, learned, queries)
    quality: dict[float | None, float] = {None: _measure(held_out, np.ones(terms))}
    quality |= {deviation: _measure(held_out, _minimise(train, terms, deviation)) for deviation in DEVIATIONS}
    return max(quality, key=quality.__getitem__)


def _measure(candidates: _Candidates, weights: NDArray[np.float64]) -> float:
    """Measure the ranking of the candidates of each query: the mean of METRIC."""
    slots = [*map(str, range(len(candidates.scores)))]
    scores, relevant = candidates.score(weights).tolist(), (candidates.shares > 0).tolist()
    run: Run = {}
    judgments: dict[str, dict[str, int]] = {}
    for query, (first, last) in enumerate(pairwise(candidates.starts.tolist())):
        run[str(query)] = dict(zip(slots[first:last], scores[first:last], strict=True))
        judgments[str(query)] = {slots[slot]: 1 for slot in range(first, last) if relevant[slot]}
    return fmean(measure(run, judgments, [METRIC])[METRIC].values())


def _minimise(candidates: _Candidates, terms: int, deviation: float) -> NDArray[np.float64]:
    """Find the weights [T] of the lowest loss, which are at least 0."""
    penalised = _PenalisedLoss(candidates, deviation)
    found: NDArray[np.float64] = minimize(
        penalised, np.ones(terms), jac=True, method="L-BFGS-B", bounds=[(0, None)] * terms
    ).x
    return found


def _select(candidates: _Candidates, first: int, last: int) -> _Candidates:
    """Return the candidates of the queries first .. last - 1."""
    starts, scores, shares, slots, terms, values = candidates
    begin, end = starts[first], starts[last]
    chosen = (begin <= slots) & (slots < end)
    return _Candidates(
        starts[first : last + 1] - begin,
        scores[begin:end],
        shares[begin:end],
        slots[chosen] - begin,
        terms[chosen],
        values[chosen],
    )


def _collect(
    experts: Experts,
    words: Mapping[str, LexicalIndex],
    numbers: Mapping[str, int],
    texts: Sequence[str],
    relevant: Sequence[Sequence[int]],
    ignored: Sequence[Sequence[int]],
) -> _Candidates:
    """Score the best documents of each query, and its relevant ones, term by term. numbers: term -> its number."""
    starts = [0]
    scores, shares, slots, terms, values = parts = tuple([np.zeros(0, kind)] for kind in "ddlld")
    scored = experts.score_each(texts)
    tracked = track(texts, "learning term weights")
    for text, matches, wanted, unwanted in zip(tracked, scored, relevant, ignored, strict=True):
        best = [leaf for leaf, _ in rank_matches(matches, CANDIDATES)]
        leaves = np.unique([*({*best} - {*unwanted}), *wanted])
        rest = _look_up(matches, leaves)
        for name, index in words.items():
            for term, added in index.score_terms(text).items():
                if term in numbers:
                    value = experts.weights[name] * _look_up(added, leaves)
                    rest -= value
                    present = np.flatnonzero(value)
                    slots.append(present + starts[-1])
                    terms.append(np.full(len(present), numbers[term]))
                    values.append(value[present])
        scores.append(rest)
        shares.append(np.isin(leaves, wanted) / len(wanted))
        starts.append(starts[-1] + len(leaves))
    return _Candidates(np.array(starts), *map(np.concatenate, parts))


def _look_up(matches: Matches, leaves: NDArray[Any]) -> NDArray[np.float64]:
    """Return the scores of some documents; 0 for those that do not match."""
    places = np.searchsorted(matches.positions, leaves)
    found = np.append(matches.positions, -1)[places] == leaves
    return np.where(found, np.append(matches.scores, 0.0)[places], 0.0)


class _PenalisedLoss:
    """The sum of -log p(d | q) over the queries minus the log prior, as a function of the weights [T]."""

    def __init__(self, candidates: _Candidates, deviation: float) -> None:
        self._candidates = candidates
        self._deviation = deviation

    def __call__(self, weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Return the loss and its gradient."""
        starts, _, shares, slots, terms, values = self._candidates
        scores, counts = self._candidates.score(weights), np.diff(starts)
        scores -= np.repeat(np.maximum.reduceat(scores, starts[:-1]), counts)
        masses = np.exp(scores)
        totals = np.add.reduceat(masses, starts[:-1])
        deviations = (weights - 1) / self._deviation
        loss = np.log(totals).sum() - shares @ scores + deviations @ deviations / 2
        surplus = masses / np.repeat(totals, counts) - shares
        gradient = np.bincount(terms, surplus[slots] * values, len(weights)) + deviations / self._deviation
        return float(loss), gradient

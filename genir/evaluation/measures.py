"""Effectiveness measures of a run, computed by ir-measures."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from genir.config.measures import parse_measure
from genir.errors import GenirError


def parse_measures(names: Iterable[str]) -> list[Any]:
    """Parse names such as nDCG@10 into ir-measures objects, in the given order.

    Raises GenirError for a name that ir-measures does not know, and for a measure that cannot be computed.
    """
    try:
        return [parse_measure(name) for name in names]
    except ValueError as error:
        raise GenirError(str(error)) from None


def measure(
    run: Mapping[str, Mapping[str, float]], judged: Mapping[str, Mapping[str, int]], names: Iterable[str]
) -> dict[str, dict[str, float]]:
    """Evaluate a run; returns measure name -> query id -> value, for every judged query.

    run: query id -> doc_id -> score. judged: query id -> doc_id -> grade. names: names of measures in ir-measures. A
    judged query that is missing from the run, or has no hits in it, gets the value 0. Queries without judgments are
    ignored. Raises GenirError for an unknown measure, and for one that cannot be computed.

    Every measure is computed from the ranks: by descending score, tied documents in the order of the run. The scores
    themselves are not passed on, since trec_eval rounds them to float32 and orders the ties that result by doc_id.
    """
    names = list(names)
    names_of: dict[Any, list[str]] = {}  # several names may mean the same measure, such as RR@10 and MRR@10
    for name, parsed in zip(names, parse_measures(names), strict=True):
        names_of.setdefault(parsed, []).append(name)
    result = {name: dict.fromkeys(judged, 0.0) for name in names}
    numbers = {str(number): query_id for number, query_id in enumerate(judged, 1)}
    known = {number: dict(judged[query_id]) for number, query_id in numbers.items()}
    found = {number: _scores_of_ranks(run[query_id]) for number, query_id in numbers.items() if run.get(query_id)}
    if found:
        for value in ir_measures.iter_calc(list(names_of), known, found):
            if not math.isfinite(value.value):
                raise GenirError(f"{value.measure} of query {numbers[value.query_id]!r} is {value.value}; leave it out")
            for name in names_of[value.measure]:
                result[name][numbers[value.query_id]] = float(value.value)
    return result


def _scores_of_ranks(scores: Mapping[str, float]) -> dict[str, float]:
    """Replace the scores of a query by -1, -2, ... in the order of the ranking, which are exact in float32."""
    ranked = sorted(scores, key=lambda doc_id: -scores[doc_id])
    return {doc_id: -float(rank) for rank, doc_id in enumerate(ranked, 1)}

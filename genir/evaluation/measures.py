"""Measures of a run, computed by ir-measures."""

from collections.abc import Iterable, Mapping
from typing import Any

import ir_measures

from genir.errors import GenirError


def parse_measures(names: Iterable[str]) -> list[Any]:
    """ir-measures values for names such as nDCG@10; an unknown name raises GenirError."""
    measures = []
    for name in names:
        try:
            measures.append(ir_measures.parse_measure(name))
        except (ValueError, NameError, KeyError):
            raise GenirError(f"{name!r} is no measure of ir-measures; such as: nDCG@10, RR@10, R@100") from None
    return measures


def measure(
    run: Mapping[str, Mapping[str, float]], judged: Mapping[str, Mapping[str, int]], names: Iterable[str]
) -> dict[str, dict[str, float]]:
    """Value of each measure for each judged query: measure name -> query id -> value.

    A query that is missing from the run, or has no hits, counts as 0.
    """
    names = list(names)
    called: dict[Any, list[str]] = {}  # RR@10 and MRR@10 are one measure
    for name, parsed in zip(names, parse_measures(names), strict=True):
        called.setdefault(parsed, []).append(name)
    result = {name: dict.fromkeys(judged, 0.0) for name in names}
    found = {query_id: dict(scores) for query_id, scores in run.items() if scores and query_id in judged}
    if found:
        for row in ir_measures.iter_calc(list(called), {q: dict(d) for q, d in judged.items()}, found):
            for name in called[row.measure]:
                result[name][row.query_id] = float(row.value)
    return result

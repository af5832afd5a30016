"""TREC run files and judgments, in the form that ir-measures takes. Nothing of measures is written by hand here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import ir_measures

from genir.errors import GenirError, at
from genir.files import atomic_file, numbered_lines
from genir.records import Judgment

Run = dict[str, dict[str, float]]
"""query id -> doc_id -> score"""


def rank_scores(doc_ids: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """Scores that keep the order of `doc_ids` strictly: a tie is lowered to the next smaller float.

    ir-measures and trec_eval break ties each in their own way, so a run must hold none.
    """
    result: dict[str, float] = {}
    last = math.inf
    for doc_id, score in zip(doc_ids, scores, strict=True):
        last = score if score < last else math.nextafter(last, -math.inf)
        result[doc_id] = last
    return result


def write_run(run: Mapping[str, Mapping[str, float]], path: Path, name: str) -> None:
    """Write a TREC run file: `query Q0 doc_id rank score name`, ranks by falling score."""
    with atomic_file(path) as handle:
        for query_id, scores in run.items():
            ranked = sorted(scores.items(), key=lambda item: -item[1])
            for rank, (doc_id, score) in enumerate(ranked, 1):
                handle.write(f"{query_id} Q0 {doc_id} {rank} {score!r} {name}\n")


def read_run(path: Path) -> Run:
    """Read a TREC run file; a malformed line raises GenirError with its number."""
    run: Run = {}
    for line, text in numbered_lines(path):
        columns = text.split()
        if len(columns) != 6:
            raise at(path, line, f"{len(columns)} columns; a run line is: query Q0 doc_id rank score name")
        run.setdefault(columns[0], {})[columns[2]] = score = _number(columns[4])
        if not math.isfinite(score):
            raise at(path, line, f"the score {columns[4]!r} is not a finite number; mend or remove this line")
    return run


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def qrels(judgments: Iterable[Judgment]) -> dict[str, dict[str, int]]:
    """query id -> doc_id -> grade."""
    result: dict[str, dict[str, int]] = {}
    for judgment in judgments:
        result.setdefault(judgment.query_id, {})[judgment.doc_id] = judgment.grade
    return result


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

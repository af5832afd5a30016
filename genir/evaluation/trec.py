"""TREC run files and judgments (qrels)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from genir.errors import error_at
from genir.files import atomic_file, numbered_lines
from genir.records import Judgment

Run = dict[str, dict[str, float]]
"""Query id -> doc_id -> score."""


def break_score_ties(doc_ids: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """Map each document to its score, changed so that the scores decrease strictly in the order of `doc_ids`.

    scores: not increasing. A score that is not lower than the one before it is replaced by the largest float below that
    one. ir-measures and trec_eval order tied documents by different rules, so a run file must not contain ties.
    """
    result: dict[str, float] = {}
    last = math.inf
    for doc_id, score in zip(doc_ids, scores, strict=True):
        last = score if score < last else math.nextafter(last, -math.inf)
        result[doc_id] = last
    return result


def write_run(run: Mapping[str, Mapping[str, float]], path: Path, name: str) -> None:
    """Write a TREC run file with lines `query Q0 doc_id rank score name`, ranked by decreasing score."""
    with atomic_file(path) as handle:
        for query_id, scores in run.items():
            ranked = sorted(scores.items(), key=lambda item: -item[1])
            for rank, (doc_id, score) in enumerate(ranked, 1):
                handle.write(f"{query_id} Q0 {doc_id} {rank} {score!r} {name}\n")


def read_run(path: Path) -> Run:
    """Read a TREC run file.

    Raises GenirError, with the line number, for a line that does not have six columns, and for a score that is not a
    finite number.
    """
    run: Run = {}
    for line, text in numbered_lines(path):
        columns = text.split()
        if len(columns) != 6:
            raise error_at(
                path, line, f"{len(columns)} columns; a line of a run file is: query Q0 doc_id rank score name"
            )
        run.setdefault(columns[0], {})[columns[2]] = score = _parse_score(columns[4])
        if not math.isfinite(score):
            raise error_at(path, line, f"the score {columns[4]!r} is not a finite number; correct or remove this line")
    return run


def _parse_score(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def qrels(judgments: Iterable[Judgment]) -> dict[str, dict[str, int]]:
    """Group judgments into query id -> doc_id -> grade, the form that ir-measures takes."""
    result: dict[str, dict[str, int]] = {}
    for judgment in judgments:
        result.setdefault(judgment.query_id, {})[judgment.doc_id] = judgment.grade
    return result

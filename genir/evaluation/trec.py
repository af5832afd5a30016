"""TREC run files and judgments."""

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from genir.errors import error_at
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
            raise error_at(path, line, f"{len(columns)} columns; a run line is: query Q0 doc_id rank score name")
        run.setdefault(columns[0], {})[columns[2]] = score = _number(columns[4])
        if not math.isfinite(score):
            raise error_at(path, line, f"the score {columns[4]!r} is not a finite number; mend or remove this line")
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

"""TREC run files and judgments (qrels)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np

from genir.checks import parse_float, parse_int
from genir.console import print_note
from genir.errors import GenirError, error_at
from genir.files import atomic_file, numbered_lines
from genir.records import Judgment

Run = dict[str, dict[str, float]]
"""Query id -> doc_id -> score."""
_LARGEST = 1e38
"""Largest absolute score that is kept; single precision ends at 3.4e38."""


def break_score_ties(doc_ids: Sequence[str], scores: Sequence[float]) -> dict[str, float]:
    """Map each document to its score, changed so that the scores decrease strictly in the order of `doc_ids`.

    scores: not increasing. They are rounded to single precision, in which trec_eval reads them, and a score that is not
    lower than the one before it is replaced by the largest one below that. trec_eval and some measures of ir-measures
    order tied documents by opposite rules, so a run file must not contain ties.
    """
    result: dict[str, float] = {}
    last = np.float32(np.inf)
    for doc_id, score in zip(doc_ids, scores, strict=True):
        rounded = _round_to_single(score)
        last = rounded if rounded < last else np.nextafter(last, np.float32(-np.inf))
        result[doc_id] = float(last)
    return result


def _round_to_single(score: float) -> np.float32:
    return np.float32(min(max(score, -_LARGEST), _LARGEST))


def write_run(run: Mapping[str, Mapping[str, float]], path: Path, name: str) -> None:
    """Write a TREC run file with lines `query Q0 doc_id rank score name`, ranked by decreasing score."""
    with atomic_file(path) as handle:
        for query_id, scores in run.items():
            ranked = sorted(scores.items(), key=lambda item: -item[1])
            for rank, (doc_id, score) in enumerate(ranked, 1):
                handle.write(f"{query_id} Q0 {doc_id} {rank} {float(score)!r} {name}\n")


def read_run(path: Path) -> Run:
    """Read a TREC run file; the scores order the documents, and tied ones are in descending order of their doc_ids.

    This is trec_eval's order, which ignores the rank column. Two notes count the queries whose ranks contradict their
    scores, and those with ties. The scores that are returned decrease strictly, see `break_score_ties`.
    Raises GenirError, with the line number, for a line that does not have six columns, a rank that is not an integer, a
    score that is not a finite number, and a document that appears twice for a query.
    """
    ranked: dict[str, dict[str, tuple[int, float]]] = {}
    for line, text in numbered_lines(path):
        columns = text.split()
        if not columns:
            continue
        if len(columns) != 6:
            raise error_at(path, line, f"expected six columns (query Q0 doc_id rank score name), got {len(columns)}")
        query_id, _, doc_id, rank, score, _ = columns
        try:
            parsed = parse_int(rank), parse_float(score)
        except ValueError as error:
            raise error_at(path, line, f"the rank or the score is wrong: {error}; correct or remove the line") from None
        if doc_id in ranked.setdefault(query_id, {}):
            raise error_at(path, line, f"document {doc_id!r} appears twice for query {query_id!r}; remove one line")
        ranked[query_id][doc_id] = parsed
    return _order_by_score(path, ranked)


def read_hits(path: Path) -> Run:
    """Read a run file that users give; raise GenirError also if it has no hits."""
    if not (run := read_run(path)):
        raise GenirError(f"{path}: this run file contains no hits; give one with lines query Q0 doc_id rank score name")
    return run


def _order_by_score(path: Path, ranked: Mapping[str, Mapping[str, tuple[int, float]]]) -> Run:
    """Order the documents of each query, which have a rank and a score, and print the notes of `read_run`."""
    run: Run = {}
    contradicted = tied = 0
    for query_id, documents in ranked.items():
        scores = {doc_id: _round_to_single(score) for doc_id, (_, score) in documents.items()}
        order = sorted(documents, key=lambda doc_id: (scores[doc_id], doc_id), reverse=True)
        by_rank = [documents[doc_id] for doc_id in sorted(documents, key=lambda doc_id: documents[doc_id][0])]
        contradicted += any(a < b and first < second for (first, a), (second, b) in pairwise(by_rank))
        tied += len({*scores.values()}) < len(scores)
        run[query_id] = break_score_ties(order, [documents[doc_id][1] for doc_id in order])
    if contradicted:
        print_note(f"{path}: the ranks of {contradicted:,} of {len(run):,} queries contradict the scores, which decide")
    if tied:
        print_note(
            f"{path}: {tied:,} of {len(run):,} queries have tied scores; tied documents are ordered by descending "
            "doc_id, as trec_eval does"
        )
    return run


def read_qrels(path: Path) -> dict[str, dict[str, int]]:
    """Read judgments as query id -> doc_id -> grade, the form that ir-measures takes.

    A file with BEIR's header (query-id, corpus-id, score) has three columns, any other TREC's four (query 0 doc_id
    grade). Raises GenirError, with the line number, for another number of columns, a grade that is not a whole number,
    and a document that is judged twice for a query; also for a file without judgments.
    """
    result: dict[str, dict[str, int]] = {}
    is_beir = False
    for line, text in numbered_lines(path):
        columns = text.split("\t") if is_beir else text.split()
        if line == 1 and columns == ["query-id", "corpus-id", "score"]:
            is_beir = True
            continue
        if not text.strip():
            continue
        if len(columns) != (3 if is_beir else 4):
            wanted = "three columns (query-id corpus-id score)" if is_beir else "four columns (query 0 doc_id grade)"
            hint = "" if is_beir else ", or BEIR's header query-id, corpus-id, score in the first line"
            raise error_at(path, line, f"expected {wanted}{hint}, got {len(columns)}")
        query_id, doc_id, grade = columns[0], columns[-2], columns[-1]
        if doc_id in result.setdefault(query_id, {}):
            raise error_at(path, line, f"document {doc_id!r} is judged twice for query {query_id!r}; remove one line")
        try:
            result[query_id][doc_id] = parse_int(grade.strip(" "))
        except ValueError as error:
            raise error_at(path, line, f"the grade is wrong: {error}; correct or remove the line") from None
    if not result:
        raise GenirError(f"{path}: this file contains no judgments")
    return result


def qrels(judgments: Iterable[Judgment]) -> dict[str, dict[str, int]]:
    """Group judgments into query id -> doc_id -> grade, the form that ir-measures takes."""
    result: dict[str, dict[str, int]] = {}
    for judgment in judgments:
        result.setdefault(judgment.query_id, {})[judgment.doc_id] = judgment.grade
    return result

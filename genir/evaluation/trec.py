"""TREC run files and judgments (qrels)."""

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

from genir.checks import parse_float, parse_int
from genir.console import print_note
from genir.errors import GenirError, error_at
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
                handle.write(f"{query_id} Q0 {doc_id} {rank} {float(score)!r} {name}\n")


def read_run(path: Path) -> Run:
    """Read a TREC run file; documents are ordered by the rank column, then by descending score, then by line.

    Scores that do not decrease strictly in this order are adjusted: ties as in `break_score_ties`, and all scores of a
    query that contradict its ranks are replaced by -1, -2, ..., with a note.
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
    return _order_by_rank(path, ranked)


def read_hits(path: Path) -> Run:
    """Read a run file that users give; raise GenirError also if it has no hits."""
    if not (run := read_run(path)):
        raise GenirError(f"{path}: this run file contains no hits; give one with lines query Q0 doc_id rank score name")
    return run


def _order_by_rank(path: Path, ranked: Mapping[str, Mapping[str, tuple[int, float]]]) -> Run:
    run: Run = {}
    contradicted = 0
    for query_id, documents in ranked.items():
        order = sorted(documents, key=lambda doc_id: (documents[doc_id][0], -documents[doc_id][1]))
        scores = [documents[doc_id][1] for doc_id in order]
        if any(a < b for a, b in pairwise(scores)):
            contradicted += 1
            scores = [-float(rank) for rank in range(1, len(order) + 1)]
        run[query_id] = break_score_ties(order, scores)
    if contradicted:
        print_note(
            f"{path}: the scores of {contradicted:,} queries are not in the order of the rank column, which decides"
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

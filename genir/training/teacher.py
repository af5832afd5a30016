"""Teachers that score candidates: a JSONL file of scores, or a cross-encoder that reads query and document.

Shapes: P examples, C candidates of an example.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.console import print_warning, track
from genir.docids.table import DocidTable
from genir.errors import GenirError, error_at
from genir.files import numbered_lines, parse_json_line
from genir.processes import gather_shares, take_share
from genir.records import Document
from genir.training.examples import LabelledQuery
from genir.words import split_special_tokens

MAX_GRADE = 3.0
"""Grade of the candidate with the teacher's highest score in its list; the candidate with the lowest score gets 0."""
MAX_SCORE = 1e30
"""Largest absolute score of a file; differences of larger ones do not fit into float32."""
Scores = NDArray[np.float32]
Teacher = Callable[[Sequence[LabelledQuery], NDArray[np.int64]], Scores]
"""(P examples, document indices of their candidates [P, C], -1 at padding) -> scores [P, C], NaN without a score."""


def open_teacher(name: str, table: DocidTable, documents: Sequence[Document]) -> Teacher:
    """Return the teacher that a setting names: a file of scores (*.jsonl), or a cross-encoder by name or folder.

    Raises GenirError if the file is missing or malformed, or the cross-encoder cannot be loaded.
    """
    if name.endswith(".jsonl"):
        return read_scores(Path(name), table)
    return load_cross_encoder(name, documents)


def read_scores(path: Path, table: DocidTable) -> Teacher:
    """Return a teacher that looks up scores from lines {"query_id": ..., "doc_id": ..., "score": number}.

    Random spans have no query id, so they get no scores; a warning is printed if no candidate at all has a score.
    Raises GenirError for a missing file, a malformed line, and a second score of the same query and document.
    """
    known: dict[tuple[str, int], float] = {}
    if not path.exists():
        raise GenirError(f"{path}: no such file; set teacher to a .jsonl file of scores or to a cross-encoder")
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        query_id, doc_id, value = _parse_score(text, path, line)
        if doc_id not in table.doc_indices:
            raise error_at(path, line, f"{_WANTED}: document {doc_id!r} has no docid")
        pair = query_id, table.doc_indices[doc_id]
        if pair in known:
            raise error_at(path, line, f"query {query_id!r} and document {doc_id!r} have two scores; remove one line")
        known[pair] = value

    def score(examples: Sequence[LabelledQuery], doc_indices: NDArray[np.int64]) -> Scores:
        found = [
            [known.get((example.query_id, doc_index), np.nan) for doc_index in candidates]
            for example, candidates in zip(examples, doc_indices.tolist(), strict=True)
        ]
        scores = np.array(found, np.float32).reshape(doc_indices.shape)
        if np.isnan(scores).all():
            print_warning(
                f"{path} has no score of any candidate, so the judgments grade them; "
                "are its query ids those of the train queries?"
            )
        return scores

    return score


_WANTED = 'must be {"query_id": a string, "doc_id": a known document, "score": a finite number}'


def _parse_score(text: str, path: Path, line: int) -> tuple[str, str, float]:
    """Parse a line of a file of scores into (query_id, doc_id, score); raises GenirError for a malformed line."""
    entry = parse_json_line(text, path, line)
    match entry:
        case {"query_id": str(query_id), "doc_id": str(doc_id), "score": int() | float() as value} if (
            not isinstance(value, bool) and abs(value) <= MAX_SCORE  # inf, from 1e999, is larger
        ):
            return query_id, doc_id, float(value)
    raise error_at(path, line, f"{_WANTED}, got {text[:80]}")


def load_cross_encoder(name: str, documents: Sequence[Document]) -> Teacher:
    """Return a teacher that scores with a sentence-transformers CrossEncoder, given by name or folder.

    Raises GenirError if sentence-transformers is not installed or the model cannot be loaded.
    """
    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        raise GenirError(
            f"teacher {name}: sentence-transformers is not installed: pip install genir[embed], or give a .jsonl file "
            "of scores"
        ) from None
    try:
        model: Any = CrossEncoder(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise GenirError(f"teacher {name}: cannot be loaded: {str(error).splitlines()[0]}") from None

    def score(examples: Sequence[LabelledQuery], doc_indices: NDArray[np.int64]) -> Scores:
        rows = []
        for number in track(take_share(range(len(examples))), "teacher"):
            row = np.full(doc_indices.shape[1], np.nan, np.float32)
            real = doc_indices[number] >= 0
            bodies = [documents[doc_index].body for doc_index in doc_indices[number][real].tolist()]
            query, *bodies = split_special_tokens(model.tokenizer, [examples[number].text, *bodies])
            row[real] = model.predict([(query, body) for body in bodies], show_progress_bar=False)
            rows.append(row)
        return np.stack(gather_shares(rows))

    return score


def apply_teacher(scores: Scores, grades: Tensor) -> Tensor:
    """Combine a teacher's scores [P, C] with judged grades [P, C] into new grades [P, C].

    The scores of each list are scaled linearly to the range from 0 to MAX_GRADE; a candidate gets the higher of its
    scaled score and its judged grade. Candidates without a score (NaN), and all candidates of a list whose scores are
    all equal, keep their judged grades.
    """
    given = torch.from_numpy(scores)
    unknown = given.isnan()
    low = given.masked_fill(unknown, torch.inf).amin(1, keepdim=True)
    high = given.masked_fill(unknown, -torch.inf).amax(1, keepdim=True)
    scaled = MAX_GRADE * (given - low) / (high - low)
    return torch.where(unknown | (high <= low), grades, torch.maximum(scaled, grades))

"""A teacher grades candidate lists: scores from a JSONL file, or from a cross-encoder that reads query and document.

Shapes: P examples, C candidates of an example.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.console import track
from genir.docids.table import DocidTable
from genir.errors import GenirError, error_at
from genir.files import numbered_lines
from genir.records import Document
from genir.training.examples import LabelledQuery

TOP = 3.0  # grade of the candidate that the teacher likes best; the worst gets 0
Scores = NDArray[np.float32]
Teacher = Callable[[Sequence[LabelledQuery], NDArray[np.int64]], Scores]
"""Examples and their candidates' rows [P, C], -1 at padding -> scores [P, C], nan where the teacher says nothing"""


def open_teacher(name: str, table: DocidTable, documents: Sequence[Document]) -> Teacher:
    """The teacher of a setting: a path that ends with .jsonl, else a cross-encoder's name or folder."""
    if name.endswith(".jsonl"):
        return score_file(Path(name), table)
    return cross_encoder(name, documents)


def score_file(path: Path, table: DocidTable) -> Teacher:
    """Scores of lines {"query_id": ..., "doc_id": ..., "score": number}; spans have no query id and get none."""
    known: dict[tuple[str, int], float] = {}
    if not path.exists():
        raise GenirError(f"{path}: no such file (teacher)")
    for line, text in numbered_lines(path):
        try:
            entry = json.loads(text)
            known[entry["query_id"], table.doc_indices[entry["doc_id"]]] = float(entry["score"])
        except (ValueError, KeyError, TypeError) as error:
            wanted = '{"query_id": ..., "doc_id": a known document, "score": a number}'
            raise error_at(path, line, f"needs {wanted}: {error!r}") from None

    def scores(examples: Sequence[LabelledQuery], rows: NDArray[np.int64]) -> Scores:
        found = [
            [known.get((example.query_id, row), np.nan) for row in mine]
            for example, mine in zip(examples, rows.tolist(), strict=True)
        ]
        return np.array(found, np.float32).reshape(rows.shape)

    return scores


def cross_encoder(name: str, documents: Sequence[Document]) -> Teacher:
    """Scores of a sentence-transformers CrossEncoder, by name or folder."""
    try:
        from sentence_transformers import CrossEncoder
    except ImportError:
        raise GenirError(f"teacher {name}: pip install genir[embed], or give a .jsonl file of scores") from None
    try:
        model: Any = CrossEncoder(name)
    except (OSError, ValueError) as error:
        raise GenirError(f"teacher {name}: cannot be loaded: {str(error).splitlines()[0]}") from None

    def scores(examples: Sequence[LabelledQuery], rows: NDArray[np.int64]) -> Scores:
        found = np.full(rows.shape, np.nan, np.float32)
        for place, example in enumerate(track(examples, "teacher", len(examples))):
            real = rows[place] >= 0
            pairs = [(example.text, documents[row].body) for row in rows[place][real].tolist()]
            found[place][real] = model.predict(pairs, show_progress_bar=False)
        return found

    return scores


def apply_teacher(scores: Scores, grades: Tensor) -> Tensor:
    """Grades [P, C] after the teacher: each list's scores scaled to 0 .. TOP, but never below a judged grade. What the
    teacher does not score, and lists that it cannot tell apart, keep the judged grades.
    """
    given = torch.from_numpy(scores)
    unknown = given.isnan()
    low = given.masked_fill(unknown, torch.inf).amin(1, keepdim=True)
    high = given.masked_fill(unknown, -torch.inf).amax(1, keepdim=True)
    scaled = TOP * (given - low) / (high - low)
    return torch.where(unknown | (high <= low), grades, torch.maximum(scaled, grades))

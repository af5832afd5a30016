"""The vectors of the sentences of documents, by which a query finds a document of which only a part answers it.

Shapes: N documents, S sentences of all of them, D dimensions.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from genir.embedders import Vectors
from genir.records import Document
from genir.words import split_sentences


class SentenceVectors(NamedTuple):
    """The vectors of the sentences of N documents.

    vectors [S, D], float32: of length 1, in the order of the documents. starts [N + 1], int64: those of document i are
    starts[i] to starts[i + 1].
    """

    vectors: Vectors
    starts: NDArray[np.int64]

    def best_cosines(self, query: Vectors, otherwise: Vectors) -> Vectors:
        """Return the cosine of the most similar sentence of each document, [N], with the vector of a query [D].

        otherwise [N]: the values for documents without sentences.
        """
        best = otherwise.copy()
        has_any = np.flatnonzero(np.diff(self.starts))
        if len(has_any):
            best[has_any] = np.maximum.reduceat(self.vectors @ query, self.starts[has_any])
        return best

    def subset(self, doc_indices: Sequence[int] | NDArray[Any]) -> "SentenceVectors":
        """Return the vectors of some documents, in the order of their numbers."""
        chosen = np.asarray(doc_indices, np.int64)
        counts = np.diff(self.starts)[chosen]
        starts = _find_starts(counts)
        rows = np.arange(starts[-1]) + np.repeat(self.starts[chosen] - starts[:-1], counts)
        return SentenceVectors(self.vectors[rows], starts)

    def followed_by(self, other: "SentenceVectors") -> "SentenceVectors":
        """Return the vectors of these documents and, after them, those of others."""
        vectors = np.concatenate([self.vectors, other.vectors])
        return SentenceVectors(vectors, np.concatenate([self.starts, self.starts[-1] + other.starts[1:]]))

    def save(self, path: Path) -> None:
        """Write a safetensors file with the tensors `vectors` and `starts`."""
        save_file({name: torch.from_numpy(np.ascontiguousarray(x)) for name, x in self._asdict().items()}, path)

    @classmethod
    def load(cls, path: Path, documents: int, dimension: int) -> "SentenceVectors":
        """Map a saved file of so many documents into memory.

        Raises ValueError, KeyError or an error of safetensors if the file is damaged or that of other documents.
        """
        tensors = load_file(path)
        vectors, starts = tensors["vectors"].numpy(), tensors["starts"].numpy()
        if vectors.dtype != np.float32 or starts.dtype != np.int64:
            raise ValueError("the tensors do not have the types of vectors and starts")
        ends = [0, len(vectors)] if len(starts) else []
        if starts.shape != (documents + 1,) or (np.diff(starts) < 0).any() or starts[[0, -1]].tolist() != ends:
            raise ValueError(f"the starts are not those of the sentences of {documents:,} documents")
        if vectors.shape[1:] != (dimension,):
            raise ValueError(f"the vectors of the sentences have not dimension {dimension}")
        return cls(vectors, starts)


def list_sentences(documents: Iterable[Document]) -> tuple[list[Document], NDArray[np.int64]]:
    """List the sentences of documents, each with the title of its document, and where those of each start [N + 1]."""
    found = [
        [Document("", document.title, sentence) for sentence in split_sentences(document.text)]
        for document in documents
    ]
    return [sentence for sentences in found for sentence in sentences], _find_starts(list(map(len, found)))


def _find_starts(counts: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the running sums of the counts, from 0 to that of all."""
    return np.concatenate([[0], np.cumsum(counts, dtype=np.int64)], dtype=np.int64)

"""The index of the dense expert: how similar the vector of a query is to those of the documents.

Shapes: N documents, D dimensions, m matches.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from genir.embedders import ModelEmbedder, TfidfEmbedder, Vectors, load_embedder
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document
from genir.scoring.lexical import Entries, Matches

SETTINGS_FILE = "dense.json"
VECTORS_FILE = "vectors.safetensors"
EMBEDDER_FOLDER = "embedder"
SCALE = 20.0
"""Factor of the cosines, with which sentence-transformers trains its models; a weight of 1 is therefore usual."""
MAX_MATCHES = 1000
"""Number of documents with a score above 0, at most."""
BATCH = 64
"""Queries that are embedded at once: a model then needs a fifth of the time for each."""


class DenseIndex:
    """The vectors of documents, and the embedder with which the vectors of queries are computed.

    Only the MAX_MATCHES most similar documents have a score above 0: SCALE times the difference between their cosine
    and that of the next document. All others count as equally dissimilar, so that matches stay few in a large
    collection.

    vectors [N, D], float32: of length 1, or zero for a document without known words.
    """

    def __init__(self, vectors: Vectors, embedder: TfidfEmbedder | ModelEmbedder) -> None:
        self.vectors = vectors
        self.embedder = embedder

    def __len__(self) -> int:
        return len(self.vectors)

    def score(self, text: str) -> Matches:
        """Return the scores of the documents that are most similar to a query; an empty one has no matches."""
        return next(self.score_many([text]))

    def score_many(self, texts: Iterable[str]) -> Iterator[Matches]:
        """Yield the scores of each query. The last bits of a score depend on the other queries of a batch."""
        remaining = iter(texts)
        while batch := list(islice(remaining, BATCH)):
            given = [text for text in batch if text]
            vectors = iter(self.embedder.embed_queries(given) if given else ())
            for text in batch:
                yield self._compare(next(vectors)) if text else Matches(np.zeros(0, np.int32), np.zeros(0, np.float32))

    def _compare(self, vector: Vectors) -> Matches:
        """Compare the documents with the vector of a query [D]."""
        cosines = self.vectors @ vector
        floor = cosines.min() if len(self) <= MAX_MATCHES else np.partition(cosines, -MAX_MATCHES - 1)[-MAX_MATCHES - 1]
        positions = np.flatnonzero(cosines > floor)
        return Matches(positions.astype(np.int32), np.float32(SCALE) * (cosines[positions] - floor))

    def find_entries(self, texts: Iterable[str]) -> Iterator[Entries]:
        """Yield the scores of each query as one entry for each document; frequencies and lengths have no meaning."""
        for positions, scores in self.score_many(texts):
            ones = np.ones_like(scores)
            yield Entries(positions, ones, ones, scores)

    def extended(self, documents: Iterable[Document]) -> "DenseIndex":
        """Return the index of the documents of this one followed by others."""
        return DenseIndex(np.concatenate([self.vectors, self.embedder.embed(documents)]), self.embedder)

    def subset(self, doc_indices: Sequence[int] | NDArray[Any]) -> "DenseIndex":
        """Return the index of some documents, in the order of their numbers."""
        return DenseIndex(self.vectors[doc_indices], self.embedder)

    reordered = subset

    def save(self, folder: Path) -> None:
        """Write the index as a folder, completely or not at all: dense.json, vectors.safetensors and embedder/."""
        with atomic_folder(folder) as new:
            self.embedder.save(new / EMBEDDER_FOLDER)
            save_file({"vectors": torch.from_numpy(np.ascontiguousarray(self.vectors))}, new / VECTORS_FILE)
            write_json(new / SETTINGS_FILE, {"documents": len(self), "dimension": self.vectors.shape[1]})

    @classmethod
    def load(cls, folder: Path) -> "DenseIndex":
        """Map a saved index into memory. Raises GenirError if a file is missing or damaged."""
        with reading_own_file(folder / SETTINGS_FILE) as path:
            sizes = read_json(path)
            shape = sizes["documents"], sizes["dimension"]
        with reading_own_file(folder / EMBEDDER_FOLDER):
            embedder = load_embedder(folder / EMBEDDER_FOLDER)
            if embedder is None:
                raise FileNotFoundError(folder / EMBEDDER_FOLDER)
        with reading_own_file(folder / VECTORS_FILE) as path:
            vectors = load_file(path)["vectors"].numpy()
            if vectors.shape != shape or vectors.dtype != np.float32:
                raise ValueError(f"the vectors do not have the sizes that {SETTINGS_FILE} gives")
            return cls(vectors, embedder)

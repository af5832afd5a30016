"""The index of the dense expert: how similar the vector of a query is to those of the documents.

Shapes: N documents, D dimensions, m matches.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
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
CACHED_QUERIES = 8192
"""How many queries are not scored again, since training meets each of them many times. A query takes 8 kB."""


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
        self.score = lru_cache(CACHED_QUERIES)(self._score)

    def __len__(self) -> int:
        return len(self.vectors)

    def _score(self, text: str) -> Matches:
        """Return the scores of the documents that are most similar to a query; an empty one has no matches."""
        if not text:
            return Matches(np.zeros(0, np.int32), np.zeros(0, np.float32))
        # Each query is embedded on its own, since the last bits of a vector depend on the other texts of a batch.
        cosines = self.vectors @ self.embedder.embed_queries([text])[0]
        floor = cosines.min() if len(self) <= MAX_MATCHES else np.partition(cosines, -MAX_MATCHES - 1)[-MAX_MATCHES - 1]
        positions = np.flatnonzero(cosines > floor)
        return Matches(positions.astype(np.int32), np.float32(SCALE) * (cosines[positions] - floor))

    def find_entries(self, text: str) -> Entries:
        """Return the scores of a query as one entry for each document; frequencies and lengths have no meaning."""
        positions, scores = self.score(text)
        ones = np.ones_like(scores)
        return Entries(positions, ones, ones, scores)

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

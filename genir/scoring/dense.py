"""The index of the dense expert: how similar the vector of a query is to those of the documents and their sentences.

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
from genir.scoring.sentence_vectors import SentenceVectors, list_sentences

SETTINGS_FILE = "dense.json"
VECTORS_FILE = "vectors.safetensors"
SENTENCES_FILE = "sentences.safetensors"
LEFT_OUT_FILE = "left_out.json"
"""Written by the embed stage in place of the vectors of sentences, if there are too many sentences."""
EMBEDDER_FOLDER = "embedder"
SCALE = 20.0
"""Factor of the cosines, with which sentence-transformers trains its models; a weight of 1 is therefore usual."""
MAX_MATCHES = 1000
"""Number of documents with a score above 0, at most."""
BATCH = 64
"""Queries that are embedded at once: a model then needs a fifth of the time for each."""


class DenseIndex:
    """The vectors of documents, and the embedder with which the vectors of queries are computed.

    The similarity of a document is the mean of two cosines: that of its vector, and that of its most similar sentence,
    if the index has vectors of sentences and the document has any; else it is the first alone.

    Only the MAX_MATCHES most similar documents have a score above 0: SCALE times the difference between their
    similarity and that of the next document. All others count as equally dissimilar, so that matches stay few in a
    large collection.

    vectors [N, D], float32: of length 1, or zero for a document without known words. sentences: the vectors of the
    sentences of these documents; None if they take no part.
    """

    def __init__(
        self, vectors: Vectors, embedder: TfidfEmbedder | ModelEmbedder, sentences: SentenceVectors | None = None
    ) -> None:
        self.vectors = vectors
        self.embedder = embedder
        self.sentences = sentences

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
        similar = self.vectors @ vector
        if self.sentences is not None:
            similar = (similar + self.sentences.best_cosines(vector, otherwise=similar)) / 2
        floor = similar.min() if len(self) <= MAX_MATCHES else np.partition(similar, -MAX_MATCHES - 1)[-MAX_MATCHES - 1]
        positions = np.flatnonzero(similar > floor)
        return Matches(positions.astype(np.int32), np.float32(SCALE) * (similar[positions] - floor))

    def find_entries(self, texts: Iterable[str]) -> Iterator[Entries]:
        """Yield the scores of each query as one entry for each document; frequencies and lengths have no meaning."""
        for positions, scores in self.score_many(texts):
            ones = np.ones_like(scores)
            yield Entries(positions, ones, ones, scores)

    def extended(self, documents: Sequence[Document]) -> "DenseIndex":
        """Return the index of the documents of this one followed by others."""
        vectors, sentences = np.concatenate([self.vectors, self.embedder.embed(documents)]), self.sentences
        if sentences is not None:
            new, starts = list_sentences(documents)
            sentences = sentences.followed_by(SentenceVectors(self.embedder.embed(new), starts))
        return DenseIndex(vectors, self.embedder, sentences)

    def subset(self, doc_indices: Sequence[int] | NDArray[Any]) -> "DenseIndex":
        """Return the index of some documents, in the order of their numbers."""
        sentences = None if self.sentences is None else self.sentences.subset(doc_indices)
        return DenseIndex(self.vectors[doc_indices], self.embedder, sentences)

    reordered = subset

    def save(self, folder: Path) -> None:
        """Write the index as a folder, completely or not at all.

        It has dense.json, vectors.safetensors, embedder/ and, with vectors of sentences, sentences.safetensors.
        """
        sizes = {"documents": len(self), "dimension": self.vectors.shape[1], "sentences": self.sentences is not None}
        with atomic_folder(folder) as new:
            self.embedder.save(new / EMBEDDER_FOLDER)
            save_file({"vectors": torch.from_numpy(np.ascontiguousarray(self.vectors))}, new / VECTORS_FILE)
            if self.sentences is not None:
                self.sentences.save(new / SENTENCES_FILE)
            write_json(new / SETTINGS_FILE, sizes)

    @classmethod
    def load(cls, folder: Path) -> "DenseIndex":
        """Map a saved index into memory. Raises GenirError if a file is missing or damaged."""
        with reading_own_file(folder / SETTINGS_FILE) as path:
            sizes = read_json(path)
            shape, has_sentences = (sizes["documents"], sizes["dimension"]), sizes["sentences"]
        with reading_own_file(folder / EMBEDDER_FOLDER):
            embedder = load_embedder(folder / EMBEDDER_FOLDER)
            if embedder is None:
                raise FileNotFoundError(folder / EMBEDDER_FOLDER)
        with reading_own_file(folder / VECTORS_FILE) as path:
            vectors = load_file(path)["vectors"].numpy()
            if vectors.shape != shape or vectors.dtype != np.float32:
                raise ValueError(f"the vectors do not have the sizes that {SETTINGS_FILE} gives")
        sentences = None
        if has_sentences:
            with reading_own_file(folder / SENTENCES_FILE) as path:
                sentences = SentenceVectors.load(path, *shape)
        return cls(vectors, embedder, sentences)

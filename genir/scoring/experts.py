"""The experts of a retriever: what scores documents besides the model, and with which weight.

Shapes: B queries, m matches of all queries, N documents.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from genir.docids.trie import AllowedLeaves, Trie
from genir.errors import GenirError
from genir.files import atomic_folder, read_json, reading_own_file, write_json
from genir.records import Document
from genir.scoring.dense import DenseIndex
from genir.scoring.lexical import LexicalIndex, Matches, add_matches
from genir.scoring.masses import Masses

SETTINGS_FILE = "experts.json"


class Field(NamedTuple):
    """What a lexical expert reads of a document, and the size of its character n-grams; None for words."""

    read: Callable[[Document], str]
    ngram: int | None = None


FIELDS: Mapping[str, Field] = {
    "text": Field(lambda document: document.body),
    "title": Field(lambda document: document.title),
    "characters": Field(lambda document: document.body, ngram=5),
}
"""The lexical experts by name. Each is BM25 of what it reads."""
DENSE = "dense"
"""Name of the expert that compares vectors."""


class ExpertScores(NamedTuple):
    """The weighted sums of the expert scores of some queries, at the documents where they are not 0.

    keys [m], int64: query * N + leaf, ascending. scores [m], float32.
    """

    keys: Tensor
    scores: Tensor


class Experts:
    """The experts of the documents of a trie, and their weights.

    indexes: for each expert, which is one of FIELDS or DENSE, the index of the documents in the order of the trie's
    leaves. weights: the factors of their scores. There is at least one expert.
    """

    def __init__(self, indexes: Mapping[str, LexicalIndex | DenseIndex], weights: Mapping[str, float]) -> None:
        self.indexes = indexes
        self.weights = weights

    def __len__(self) -> int:
        """Number of documents."""
        return len(next(iter(self.indexes.values())))

    def score(self, texts: Sequence[str]) -> ExpertScores:
        """Score the documents for a batch of queries. Empty texts match nothing."""
        queries = [query for query, text in enumerate(texts) if text]
        if not queries:
            return ExpertScores(torch.zeros(0, dtype=torch.long), torch.zeros(0))
        matches = list(self.score_each([texts[query] for query in queries]))
        keys = np.concatenate([match.positions for match in matches], dtype=np.int64)
        keys += np.repeat(np.array(queries) * len(self), [len(match.positions) for match in matches])
        scores = np.concatenate([match.scores for match in matches])
        return ExpertScores(torch.from_numpy(keys), torch.from_numpy(scores))

    def score_each(self, texts: Sequence[str]) -> Iterator[Matches]:
        """Yield the weighted sums of the scores of all documents for each query."""
        for parts in zip(*(index.score_many(texts) for index in self.indexes.values()), strict=True):
            yield add_matches(parts, list(self.weights.values()))

    def rank_many(self, texts: Sequence[str], k: int) -> Iterator[list[tuple[int, float]]]:
        """Yield the k best (leaf, score) pairs of each query, best first; documents with the score 0 are omitted.

        Documents with equal scores are in docid order.
        """
        return (rank_matches(matches, k) for matches in self.score_each(texts))

    def explain(self, text: str, leaf: int) -> dict[str, float]:
        """The weighted score of each expert for the document of a leaf."""
        found = {name: index.score(text) for name, index in self.indexes.items()}
        return {
            name: float(scores[positions == leaf].sum()) * self.weights[name]
            for name, (positions, scores) in found.items()
        }

    def extended(self, documents: Sequence[Document], old: Trie, new: Trie) -> "Experts":
        """The experts of the documents of `new`, which has these documents after those of the present trie `old`."""
        # The extended index has the old documents in the order of the old leaves, and then the new documents.
        order = np.concatenate([old.leaf_of, np.arange(old.size, new.size)])[new.doc_indices.numpy()]

        def extend(name: str, index: LexicalIndex | DenseIndex) -> LexicalIndex | DenseIndex:
            if isinstance(index, DenseIndex):
                return index.extended(documents).reordered(order)
            return index.extended(map(FIELDS[name].read, documents)).reordered(order)

        return self._map(extend)

    def subset(self, leaves: NDArray[np.integer]) -> "Experts":
        """The experts of the documents of these leaves, which are in ascending order."""
        return self._map(lambda _, index: index.subset(leaves))

    def _map(self, change: Callable[[str, LexicalIndex | DenseIndex], LexicalIndex | DenseIndex]) -> "Experts":
        return Experts({name: change(name, index) for name, index in self.indexes.items()}, self.weights)

    def save(self, folder: Path) -> None:
        """Write the folder: experts.json, and a folder for the index of each expert."""
        with atomic_folder(folder) as new:
            for name, index in self.indexes.items():
                index.save(new / name)
            write_json(new / SETTINGS_FILE, {name: {"weight": weight} for name, weight in self.weights.items()})

    @classmethod
    def load(cls, folder: Path, documents: int) -> "Experts | None":
        """Read the experts of so many documents; None if there is no folder, because the retriever has no experts.

        The indexes are mapped into memory. Raises GenirError if a file is missing or damaged.
        """
        if not folder.is_dir():
            return None
        with reading_own_file(folder / SETTINGS_FILE) as path:
            weights = {name: settings["weight"] for name, settings in read_json(path).items()}
            if not weights or not weights.keys() <= {*FIELDS, DENSE}:
                raise ValueError(f"unknown experts {', '.join(map(str, weights))}")
            for weight in weights.values():
                if type(weight) not in (int, float) or not 0 <= weight < math.inf:
                    raise ValueError(f"unknown weight {weight!r}")
        indexes = {name: (DenseIndex if name == DENSE else LexicalIndex).load(folder / name) for name in weights}
        for name, index in indexes.items():
            if len(index) != documents:
                raise GenirError(
                    f"{folder / name}: an index of {len(index):,} documents, but the retriever has {documents:,}; copy "
                    "the complete folder again, or create it again"
                )
        return cls(indexes, weights)


def rank_matches(matches: Matches, k: int) -> list[tuple[int, float]]:
    """Return the k best (position, score) pairs, best first; equal scores are in the order of their positions."""
    positions, scores = matches
    if k < len(scores):  # only these are sorted, since a query matches a large part of a collection
        chosen = np.flatnonzero(scores >= np.partition(scores, -k)[-k])
        positions, scores = positions[chosen], scores[chosen]
    best = np.argsort(-scores, kind="stable")[:k]
    return list(zip(positions[best].tolist(), scores[best].tolist(), strict=True))


def compute_masses(
    experts: Experts | None,
    texts: Sequence[str],
    trie: Trie,
    device: torch.device,
    allowed: AllowedLeaves | None = None,
) -> Masses:
    """Compute the prior masses of documents for some queries; without experts all documents have the same."""
    if experts is None:
        return Masses.uniform(trie, len(texts), device, allowed)
    keys, scores = experts.score(texts)
    return Masses(trie, len(texts), keys.to(device), scores.to(device), allowed)

"""The experts of a retriever: what scores documents besides the model, and with which weight.

Shapes: B queries, m matches of all queries, N documents.
"""

import math
from collections.abc import Sequence
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
from genir.scoring.lexical import LexicalIndex
from genir.scoring.masses import Masses

SETTINGS_FILE = "experts.json"


class ExpertScores(NamedTuple):
    """The weighted sums of the expert scores of some queries, at the documents where they are not 0.

    keys [m], int64: query * N + leaf, ascending. scores [m], float32.
    """

    keys: Tensor
    scores: Tensor


class Experts:
    """The experts of the documents of a trie, and their weights.

    lexical: BM25 over the documents in the order of the trie's leaves. weight: the factor of its scores.
    """

    def __init__(self, lexical: LexicalIndex, weight: float) -> None:
        self.lexical = lexical
        self.weight = weight

    def score(self, texts: Sequence[str]) -> ExpertScores:
        """Score the documents for a batch of queries. Empty texts match nothing."""
        matches = [self.lexical.score(text) for text in texts]
        keys = np.concatenate([match.positions for match in matches], dtype=np.int64)
        keys += np.repeat(np.arange(len(texts)) * len(self.lexical), [len(match.positions) for match in matches])
        scores = np.concatenate([match.scores for match in matches]) * np.float32(self.weight)
        return ExpertScores(torch.from_numpy(keys), torch.from_numpy(scores))

    def rank(self, text: str, k: int) -> list[tuple[int, float]]:
        """Return the k best (leaf, score) pairs of a query, best first; documents with the score 0 are omitted.

        Documents with equal scores are in docid order.
        """
        keys, scores = self.score([text])
        best = scores.argsort(descending=True, stable=True)[:k]
        return list(zip(keys[best].tolist(), scores[best].tolist(), strict=True))

    def explain(self, text: str, leaf: int) -> dict[str, float]:
        """The weighted score of each expert for the document of a leaf."""
        keys, scores = self.score([text])
        return {"lexical": float(scores[keys == leaf].sum())}

    def extended(self, documents: Sequence[Document], old: Trie, new: Trie) -> "Experts":
        """The experts of the documents of `new`, which has these documents after those of the present trie `old`."""
        # The extended index has the old documents in the order of the old leaves, and then the new documents.
        places = np.concatenate([old.leaf_of, np.arange(old.size, new.size)])
        return Experts(self.lexical.extended(documents).reordered(places[new.doc_indices.numpy()]), self.weight)

    def subset(self, leaves: NDArray[np.integer]) -> "Experts":
        """The experts of the documents of these leaves, which are in ascending order."""
        return Experts(self.lexical.subset(leaves), self.weight)

    def save(self, folder: Path) -> None:
        """Write the folder: experts.json and lexical/."""
        with atomic_folder(folder) as new:
            self.lexical.save(new / "lexical")
            write_json(new / SETTINGS_FILE, {"lexical": {"weight": self.weight}})

    @classmethod
    def load(cls, folder: Path, documents: int) -> "Experts | None":
        """Read the experts of so many documents; None if there is no folder, because the retriever has no experts.

        The index is mapped into memory. Raises GenirError if a file is missing or damaged.
        """
        if not folder.is_dir():
            return None
        with reading_own_file(folder / SETTINGS_FILE) as path:
            weight = read_json(path)["lexical"]["weight"]
            if type(weight) not in (int, float) or not 0 <= weight < math.inf:
                raise ValueError(f"unknown weight {weight!r}")
        lexical = LexicalIndex.load(folder / "lexical")
        if len(lexical) != documents:
            raise GenirError(
                f"{folder}: an index of {len(lexical):,} documents, but the retriever has {documents:,}; copy the "
                "complete folder again, or create it again"
            )
        return cls(lexical, weight)


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

"""Random draws from candidate lists, and their conversion to batches of tensors, as the refinement stages read them.

Shapes: B draws of a batch, N candidates of a draw at most.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset

from genir.config import PreferenceConfig
from genir.retriever import Retriever
from genir.training.candidate_lists import CandidateLists, make_candidate_batch


class PreferenceDataset(Dataset[tuple[int, NDArray[np.int64]]]):
    """Random draws of candidates from the lists; each draw depends only on the seed and on its own index.

    A draw is the index of a list, and the columns of at most `candidates_per_step` of its candidates: random positives,
    at most half of that number if the list has negatives, and as many random negatives as still fit. Each pass over the
    lists visits them in a new random order.
    """

    def __init__(self, lists: CandidateLists, length: int, settings: PreferenceConfig, seed: int) -> None:
        self.lists = lists
        self.length = length
        self.settings = settings
        self.seed = seed

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[int, NDArray[np.int64]]:
        epoch, step = divmod(index, len(self.lists.texts))
        list_index = int(np.random.default_rng((self.seed, epoch)).permutation(len(self.lists.texts))[step])
        rng = np.random.default_rng((self.seed, index, 1))
        count = int((self.lists.doc_indices[list_index] >= 0).sum())
        positives = int((self.lists.grades[list_index] > 0).sum())
        limit = self.settings.candidates_per_step
        chosen = rng.permutation(positives)[: max(1, limit // 2 if count > positives else limit)]
        negatives = positives + rng.permutation(count - positives)[: limit - len(chosen)]
        return list_index, np.concatenate([chosen, negatives])


class PreferenceCollator:
    """Turns draws of a `PreferenceDataset` into a batch, padding shorter draws.

    The batch holds what `make_candidate_batch` makes, and grades, reference and mask [B, N]; mask is
    true at candidates and false at padding.
    """

    def __init__(self, retriever: Retriever, lists: CandidateLists, max_tokens: int) -> None:
        self.retriever = retriever
        self.lists = lists
        self.max_tokens = max_tokens

    def __call__(self, draws: Sequence[tuple[int, NDArray[np.int64]]]) -> dict[str, Any]:
        width = max(len(columns) for _, columns in draws)
        columns = np.stack([np.pad(drawn, (0, width - len(drawn)), constant_values=-1) for _, drawn in draws])
        list_indices = np.array([list_index for list_index, _ in draws])[:, None]
        mask = columns >= 0
        doc_indices = np.where(mask, self.lists.doc_indices[list_indices, columns], -1)
        texts = [self.lists.texts[list_index] for list_index, _ in draws]
        seen_only = self.lists.seen_only[list_indices[:, 0]]
        return make_candidate_batch(self.retriever, texts, doc_indices, self.max_tokens, seen_only) | {
            "grades": self.lists.grades[list_indices, columns],
            "reference": self.lists.reference[list_indices, columns],
            "mask": torch.from_numpy(mask),
        }

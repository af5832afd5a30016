"""Synthetic documents, for the benchmark programs that read texts."""

from collections.abc import Sequence
from typing import overload

import numpy as np

from genir.records import Document

DISTINCT_WORDS = 20_000


class SyntheticDocuments(Sequence[Document]):
    """`number` documents of `length` random words by Zipf's law; each is made from its number when it is read."""

    def __init__(self, number: int, length: int = 200) -> None:
        self.number = number
        self.length = length
        rng = np.random.default_rng(0)
        letters = rng.integers(ord("a"), ord("z") + 1, (DISTINCT_WORDS, 10)).astype(np.uint8)
        sizes = rng.integers(2, 11, DISTINCT_WORDS).tolist()
        self.words = [row.tobytes()[:size].decode() for row, size in zip(letters, sizes, strict=True)]

    def __len__(self) -> int:
        return self.number

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self.number))]
        i = range(self.number)[index]
        ranks = np.random.default_rng(i).zipf(1.2, self.length) % DISTINCT_WORDS
        return Document(f"d{i}", "", " ".join(self.words[rank] for rank in ranks.tolist()))

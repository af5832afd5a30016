"""The collection of a run: checked once by the prepare stage, then read at random without holding its text."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from genir.collection.beir import BeirCollection
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


class DocumentFile(Sequence[Document]):
    """An uncompressed `corpus.jsonl` as a sequence: document i is read from the file when asked for.

    Memory: 8 bytes a document. Iterating reads the file once from start to end.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise GenirError(f"{path}: no such file; run the prepare stage first")
        self.path = path
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        block = 1 << 26  # positions of line ends, 64 MB at a time, so that the file need not fit in memory
        ends = [
            np.flatnonzero(self._bytes[start : start + block] == 10) + start + 1
            for start in range(0, len(self._bytes), block)
        ]
        self._offsets = np.concatenate([np.zeros(1, np.int64), *ends]).astype(np.int64)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Document: ...
    @overload
    def __getitem__(self, index: slice) -> list[Document]: ...
    def __getitem__(self, index: int | slice) -> Document | list[Document]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        row = json.loads(self._bytes[self._offsets[index] : self._offsets[index + 1]].tobytes())
        return Document(row["_id"], row["title"], row["text"], row["url"])

    def __iter__(self) -> Iterator[Document]:
        with open(self.path, encoding="utf-8") as handle:
            for line in handle:
                row = json.loads(line)
                yield Document(row["_id"], row["title"], row["text"], row["url"])


class PreparedCollection:
    """What the prepare stage wrote: documents, queries and judgments known to fit each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = DocumentFile(folder / "corpus.jsonl")
        self._beir = BeirCollection(folder, {})

    @property
    def splits(self) -> list[str]:
        """Names of the splits."""
        return self._beir.splits

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {query.id: query.text for query in self._beir.queries()}

    def judgments(self, split: str) -> list[Judgment]:
        """All judgments of a split."""
        return [judgment for _, judgment in self._beir.judgments(split)]

    def queries(self, split: str) -> list[Query]:
        """The judged queries of a split, each once, in the order of the judgments."""
        wanted = dict.fromkeys(judgment.query_id for judgment in self.judgments(split))
        return [Query(query_id, self._texts[query_id]) for query_id in wanted]

"""The collection of a run, which the prepare stage has checked; documents are read from disk by index when needed."""

import json
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import overload

import numpy as np

from genir.collection.beir import BeirCollection
from genir.errors import GenirError, error_at
from genir.files import read_json
from genir.records import Document, Judgment, Query

_LINE_FEED = 10


class DocumentFile(Sequence[Document]):
    """An uncompressed `corpus.jsonl` as a sequence whose items are read from the file when they are accessed.

    It takes 8 bytes of memory per document. Iteration reads the file once from start to end. Raises GenirError if the
    file does not exist.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise GenirError(f"{path}: no such file; run the prepare stage first")
        if path.stat().st_size == 0:
            raise GenirError(f"{path}: this file is empty; run the prepare stage again")
        self.path = path
        self._bytes = np.memmap(path, dtype=np.uint8, mode="r")
        block = 1 << 26  # line ends are searched in 64 MB at a time, since the file may be larger than the memory
        ends = [
            np.flatnonzero(self._bytes[start : start + block] == _LINE_FEED) + start + 1
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
        return self._parse(self._bytes[self._offsets[index] : self._offsets[index + 1]].tobytes(), index + 1)

    def __iter__(self) -> Iterator[Document]:
        with open(self.path, "rb") as handle:
            for number, text in enumerate(handle, 1):
                yield self._parse(text, number)

    def _parse(self, text: bytes, line: int) -> Document:
        try:
            record = json.loads(text)
            document = Document(record["_id"], record["title"], record["text"], record["url"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise error_at(self.path, line, f"this file is damaged ({error!r}); run the prepare stage again") from None
        if not all(isinstance(value, str) for value in document):
            raise error_at(self.path, line, "this file is damaged (not only strings); run the prepare stage again")
        return document


class PreparedCollection:
    """A collection folder that the prepare stage wrote; its judgments refer only to existing documents and queries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.documents = DocumentFile(folder / "corpus.jsonl")
        self._beir = BeirCollection(folder, {})

    @property
    def splits(self) -> list[str]:
        """Names of the splits that have judgments."""
        return self._beir.splits

    @cached_property
    def _texts(self) -> dict[str, str]:
        return {query.id: query.text for query in self._beir.queries()}

    @cached_property
    def ignores_identical_ids(self) -> bool:
        """Whether the document with the id of a query is left out of its rankings (collection.ignore_identical_ids)."""
        card = self.folder / "card.json"
        return card.exists() and bool(read_json(card).get("ignore_identical_ids", False))

    def is_ignored(self, query_id: str, doc_id: str) -> bool:
        """Whether a document must be left out of the ranking of a query, because it is the query itself.

        A search that must return k other documents asks for k + `ignores_identical_ids`.
        """
        return query_id == doc_id and self.ignores_identical_ids

    @property
    def has_train_queries(self) -> bool:
        """Whether the collection has a split train."""
        return "train" in self.splits

    def judgments(self, split: str) -> list[Judgment]:
        """Return all judgments of a split; none for train if there is no such split, and GenirError for any other."""
        if split == "train" and not self.has_train_queries:
            return []
        return [judgment for _, judgment in self._beir.judgments(split)]

    def queries(self, split: str) -> list[Query]:
        """Return the judged queries of a split, each once, in the order of their first judgments."""
        query_ids = dict.fromkeys(judgment.query_id for judgment in self.judgments(split))
        if unknown := query_ids.keys() - self._texts.keys():
            raise GenirError(
                f"{self.folder}: this folder is damaged (query {min(unknown)!r} of {split} is not among the queries); "
                "run the prepare stage again"
            )
        return [Query(query_id, self._texts[query_id]) for query_id in query_ids]

"""The interface of a collection: documents, queries, and judgments by split."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.checks import is_valid_id
from genir.errors import GenirError, error_at
from genir.records import Document, Judgment, Query


class Collection(ABC):
    """Documents, queries and, for each split, judgments."""

    name: str

    @property
    @abstractmethod
    def splits(self) -> list[str]:
        """Names of the splits that have judgments."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """All documents, in the collection's order; a duplicate or empty id raises GenirError."""

    @abstractmethod
    def queries(self) -> Iterator[Query]:
        """The queries of all splits; a duplicate or empty id raises GenirError."""

    @abstractmethod
    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        """Judgments of one split, each with the place where it was read (file and line) for error messages."""

    def require_split(self, split: str) -> None:
        """Raise unless `split` has judgments."""
        if split not in self.splits:
            raise GenirError(f"{self.name}: no split {split!r}; there are: {', '.join(self.splits) or 'none'}")


def checked_id(row: Mapping[str, Any], seen: set[str], path: Path, line: int) -> str:
    value = row.get("_id")
    if not is_valid_id(value):
        raise error_at(path, line, f"_id must be a string without white space, not {value!r}")
    if value in seen:
        raise error_at(path, line, f"duplicate _id {value!r}")
    seen.add(value)
    return value

"""The interface that every collection implements: documents, queries, and judgments by split."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path

from genir.checks import is_valid_id
from genir.errors import GenirError, error_at
from genir.records import Document, Judgment, Query


class Collection(ABC):
    """A collection of documents and queries, with the relevance judgments of each split.

    All three are streamed: each call reads them from the beginning.
    """

    name: str
    """The origin of the collection (a folder, archive or id), for error messages."""

    @property
    @abstractmethod
    def splits(self) -> list[str]:
        """Names of the splits that have judgments."""

    @abstractmethod
    def documents(self) -> Iterator[Document]:
        """Yield all documents in the order of the collection. Raises GenirError for a duplicate or invalid id."""

    @abstractmethod
    def queries(self) -> Iterator[Query]:
        """Yield the queries of all splits, each once. Raises GenirError for an invalid id."""

    @abstractmethod
    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        """Yield (location, judgment) for each judgment of a split; the location (file, line) is for error messages.

        Raises GenirError for an unknown split or a malformed judgment.
        """

    def require_split(self, split: str) -> None:
        """Raise GenirError if the split `split` has no judgments."""
        if split not in self.splits:
            raise GenirError(f"{self.name}: no split {split!r}; there are: {', '.join(self.splits) or 'none'}")


def require_new_id(value: object, seen: set[str], key: str, path: Path, line: int) -> str:
    """Return `value` as an id and add it to `seen`.

    key: the name of the id in the file. Raises GenirError, with the file and line, if the value is not a valid id or is
    already in `seen`.
    """
    if not is_valid_id(value):
        wanted = "a non-empty string without white space and control characters"
        raise error_at(path, line, f"{key} must be {wanted}, got {value!r}")
    if value in seen:
        raise error_at(path, line, f"duplicate {key} {value!r}")
    seen.add(value)
    return value

"""The MS MARCO document and passage collections, read from their official files.

The corpus files are TSV with the columns docid, url, title, body (documents) or pid, passage (passages).
"""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from genir.checks import parse_int
from genir.collection.base import Collection, require_new_id
from genir.collection.sources import require_raw_files
from genir.errors import error_at
from genir.files import numbered_lines
from genir.records import Document, Judgment, Query


class SplitFiles(NamedTuple):
    """Names of the raw files of one split."""

    queries: str
    qrels: str


DOCUMENT_SPLITS = {
    "train": SplitFiles("msmarco-doctrain-queries.tsv.gz", "msmarco-doctrain-qrels.tsv.gz"),
    "test": SplitFiles("msmarco-docdev-queries.tsv.gz", "msmarco-docdev-qrels.tsv.gz"),
}
DOCUMENT_TREC_SPLITS = {
    "dl19": SplitFiles("msmarco-test2019-queries.tsv.gz", "2019qrels-docs.txt"),
    "dl20": SplitFiles("msmarco-test2020-queries.tsv.gz", "2020qrels-docs.txt"),
}
PASSAGE_SPLITS = {
    "train": SplitFiles("queries.tar.gz/queries.train.tsv", "qrels.train.tsv"),
    "test": SplitFiles(
        "collectionandqueries.tar.gz/queries.dev.small.tsv", "collectionandqueries.tar.gz/qrels.dev.small.tsv"
    ),
    "dl19": SplitFiles("msmarco-test2019-queries.tsv.gz", "2019qrels-pass.txt"),
    "dl20": SplitFiles("msmarco-test2020-queries.tsv.gz", "2020qrels-pass.txt"),
}
"""The raw files of each split.

The official dev set (dev small) is the split `test`, since no setting is chosen on it; the prepare stage carves a dev
split from train.
"""


class MsMarco(Collection):
    """Base class of the two MS MARCO collections.

    Lines of a query file are `qid TAB text`, and lines of a judgment file are `qid 0 docid grade`, separated by white
    space. Raises GenirError if raw files are missing.
    """

    group: ClassVar[str]
    """The group of the raw files in data/sources.yaml."""
    corpus: ClassVar[str]
    """Name of the raw file with the documents or passages."""
    columns: ClassVar[int]
    """Number of columns of the corpus; a tab within the last column belongs to the text."""

    def __init__(self, folder: Path, splits: Mapping[str, SplitFiles]) -> None:
        self.name = str(folder)
        names = self.raw_files(splits)
        paths = dict(zip(names, require_raw_files(folder, names, self.group), strict=True))
        self._corpus = paths[self.corpus]
        self._splits = {split: (paths[files.queries], paths[files.qrels]) for split, files in splits.items()}

    @classmethod
    def raw_files(cls, splits: Mapping[str, SplitFiles]) -> list[str]:
        """List the names of the raw files of the corpus and of `splits`."""
        return [cls.corpus, *(name for files in splits.values() for name in files)]

    @staticmethod
    @abstractmethod
    def parse_document(columns: list[str]) -> Document:
        """Make a document from the columns of its line."""

    @property
    def splits(self) -> list[str]:
        return list(self._splits)

    def documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for line, columns in _read_columns(self._corpus, self.columns):
            require_new_id(columns[0], seen, "id", self._corpus, line)
            yield self.parse_document(columns)
        if not seen:
            raise error_at(self._corpus, 1, "this file contains no documents")

    def queries(self) -> Iterator[Query]:
        yielded: set[str] = set()
        for path in dict.fromkeys(queries for queries, _ in self._splits.values()):
            seen: set[str] = set()
            for line, (query_id, text) in _read_columns(path, 2):
                require_new_id(query_id, seen, "id", path, line)
                if not text.strip():
                    raise error_at(path, line, "the query is empty")
                if query_id not in yielded:
                    yield Query(query_id, " ".join(text.split()))
            yielded |= seen

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._splits[split][1]
        for line, text in numbered_lines(path):
            columns = text.split()
            if not columns:
                continue
            try:
                query_id, _, doc_id, grade = columns
                yield f"{path}:{line}", Judgment(query_id, doc_id, parse_int(grade))
            except ValueError:
                raise error_at(
                    path, line, f"a judgment must be: query 0 document grade; this line is {text[:80]!r}"
                ) from None


class MsMarcoDocuments(MsMarco):
    """The document collection, msmarco-docs.tsv: docid, url, title, body. The title and the body may be empty."""

    group = "msmarco-doc"
    corpus = "msmarco-docs.tsv.gz"
    columns = 4

    @staticmethod
    def parse_document(columns: list[str]) -> Document:
        doc_id, url, title, body = columns
        return Document(doc_id, title.strip(), body.strip(), url.strip())


class MsMarcoPassages(MsMarco):
    """The passage collection, collection.tsv: pid, passage."""

    group = "msmarco-passage"
    corpus = "collectionandqueries.tar.gz/collection.tsv"
    columns = 2

    @staticmethod
    def parse_document(columns: list[str]) -> Document:
        return Document(columns[0], "", columns[1].strip())


def _read_columns(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the `count` columns of each line, split at the first tabs; blank lines are skipped.

    Raises GenirError for a line with fewer columns.
    """
    for line, text in numbered_lines(path):
        columns = text.split("\t", count - 1)
        if len(columns) < count:
            if not text.strip():
                continue
            raise error_at(path, line, f"{len(columns)} columns instead of {count}, separated by tabs: {text[:80]!r}")
        yield line, columns

"""MS MARCO's official files: documents (docid, url, title, body) and passages (pid, passage) as TSV, queries, qrels."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar, NamedTuple

from genir.collection.base import Collection
from genir.collection.sources import require
from genir.errors import error_at
from genir.files import numbered_lines
from genir.records import Document, Judgment, Query


class Part(NamedTuple):
    """The raw files of one split."""

    queries: str
    qrels: str


class MsMarco(Collection):
    """What both collections share: queries `qid TAB text`, judgments `qid 0 docid grade` split by white space."""

    group: ClassVar[str]  # in data/sources.yaml
    corpus: ClassVar[str]
    columns: ClassVar[int]  # of the corpus; a tab in the last one belongs to the text

    def __init__(self, folder: Path, parts: Mapping[str, Part]) -> None:
        self.name = str(folder)
        names = [self.corpus, *(name for part in parts.values() for name in part)]
        paths = dict(zip(names, require(folder, names, self.group), strict=True))
        self._corpus = paths[self.corpus]
        self._parts = {split: (paths[part.queries], paths[part.qrels]) for split, part in parts.items()}

    @staticmethod
    @abstractmethod
    def document(columns: list[str]) -> Document:
        """A document from its columns."""

    @property
    def splits(self) -> list[str]:
        return list(self._parts)

    def documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for line, columns in _rows(self._corpus, self.columns):
            _check_new(columns[0], seen, self._corpus, line)
            yield self.document(columns)
        if not seen:
            raise error_at(self._corpus, 1, "there is no document in this file")

    def queries(self) -> Iterator[Query]:
        given: set[str] = set()
        for path in dict.fromkeys(queries for queries, _ in self._parts.values()):
            seen: set[str] = set()
            for line, (query_id, text) in _rows(path, 2):
                _check_new(query_id, seen, path, line)
                if not text.strip():
                    raise error_at(path, line, "the query is empty")
                if query_id not in given:
                    yield Query(query_id, " ".join(text.split()))
            given |= seen

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._parts[split][1]
        for line, text in numbered_lines(path):
            columns = text.split()
            if not columns:
                continue
            try:
                query_id, _, doc_id, grade = columns
                yield f"{path}:{line}", Judgment(query_id, doc_id, int(grade))
            except ValueError:
                raise error_at(path, line, f"not a judgment (query 0 document grade): {text[:80]!r}") from None


class MsMarcoDocuments(MsMarco):
    """msmarco-docs.tsv: docid, url, title, body; title and body may be empty."""

    group = "msmarco-doc"
    corpus = "msmarco-docs.tsv.gz"
    columns = 4

    @staticmethod
    def document(columns: list[str]) -> Document:
        doc_id, url, title, body = columns
        return Document(doc_id, title.strip(), body.strip(), url.strip())


class MsMarcoPassages(MsMarco):
    """collection.tsv: pid, passage."""

    group = "msmarco-passage"
    corpus = "collectionandqueries.tar.gz/collection.tsv"
    columns = 2

    @staticmethod
    def document(columns: list[str]) -> Document:
        return Document(columns[0], "", columns[1].strip())


def _rows(path: Path, count: int) -> Iterator[tuple[int, list[str]]]:
    """Lines split at the first tabs into `count` columns; one with fewer raises GenirError."""
    for line, text in numbered_lines(path):
        columns = text.split("\t", count - 1)
        if len(columns) < count:
            if not text.strip():
                continue
            raise error_at(
                path, line, f"{len(columns)} columns where {count} are needed, separated by tabs: {text[:80]!r}"
            )
        yield line, columns


def _check_new(name: str, seen: set[str], path: Path, line: int) -> None:
    if not name or any(c.isspace() for c in name):
        raise error_at(path, line, f"an id must be a string without white space, not {name!r}")
    if name in seen:
        raise error_at(path, line, f"duplicate id {name!r}")
    seen.add(name)


DOC = {
    "train": Part("msmarco-doctrain-queries.tsv.gz", "msmarco-doctrain-qrels.tsv.gz"),
    "test": Part("msmarco-docdev-queries.tsv.gz", "msmarco-docdev-qrels.tsv.gz"),
}
DOC_TREC = {
    "dl19": Part("msmarco-test2019-queries.tsv.gz", "2019qrels-docs.txt"),
    "dl20": Part("msmarco-test2020-queries.tsv.gz", "2020qrels-docs.txt"),
}
PASSAGE = {
    "train": Part("queries.tar.gz/queries.train.tsv", "qrels.train.tsv"),
    "test": Part(
        "collectionandqueries.tar.gz/queries.dev.small.tsv", "collectionandqueries.tar.gz/qrels.dev.small.tsv"
    ),
    "dl19": Part("msmarco-test2019-queries.tsv.gz", "2019qrels-pass.txt"),
    "dl20": Part("msmarco-test2020-queries.tsv.gz", "2020qrels-pass.txt"),
}
"""The official dev set (dev small) is `test`: nothing is chosen on it; prepare carves a dev split from train."""

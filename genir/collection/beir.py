"""BEIR folders as collections; what is wrong in a file is one line that names the file and the line."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.checks import is_encodable
from genir.collection.base import Collection, checked_id
from genir.errors import GenirError, error_at
from genir.files import numbered_lines, parse_json_line
from genir.records import Document, Judgment, Query

QRELS_HEADER = ("query-id", "corpus-id", "score")


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a `corpus.jsonl[.gz]`; what is malformed, twice there or missing raises GenirError."""
    seen: set[str] = set()
    for line, row in _json_rows(path):
        doc_id = checked_id(row, seen, path, line)
        title, text, url = (_text(row, key, path, line) for key in ("title", "text", "url"))
        yield Document(doc_id, title, text, url)
    if not seen:
        raise GenirError(f"{path}: there is no document in this file")


class BeirCollection(Collection):
    """A folder with `corpus.jsonl[.gz]`, `queries.jsonl[.gz]` and `qrels/SPLIT.tsv[.gz]`."""

    def __init__(self, folder: Path, splits: Mapping[str, str]) -> None:
        if not folder.is_dir():
            raise GenirError(f"{folder}: no such folder; a BEIR folder or irds:ID is needed (ids: ir-datasets.com)")
        self.name = str(folder)
        self.corpus = _one_of(folder, "corpus.jsonl")
        self._queries = _one_of(folder, "queries.jsonl")
        tables = folder / "qrels"
        names = {file.name.removesuffix(".gz") for kind in ("*.tsv", "*.tsv.gz") for file in tables.glob(kind)}
        files = {name.removesuffix(".tsv"): _one_of(tables, name) for name in sorted(names)}
        renamed = set(splits.values())
        self._qrels = {name: file for name, file in files.items() if name not in renamed}
        for ours, theirs in splits.items():
            if theirs not in files:
                raise GenirError(f"{folder}: no qrels/{theirs}.tsv, which collection.splits.{ours} asks for")
            self._qrels[ours] = files[theirs]

    @property
    def splits(self) -> list[str]:
        return list(self._qrels)

    def documents(self) -> Iterator[Document]:
        return read_documents(self.corpus)

    def queries(self) -> Iterator[Query]:
        seen: set[str] = set()
        for line, row in _json_rows(self._queries):
            query = Query(checked_id(row, seen, self._queries, line), _text(row, "text", self._queries, line))
            if not query.text.strip():
                raise error_at(self._queries, line, "the query is empty")
            yield query

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._qrels[split]
        for line, text in numbered_lines(path):
            columns = text.split("\t")
            if line == 1:
                if tuple(columns) != QRELS_HEADER:
                    raise error_at(path, 1, "the header must be query-id, corpus-id, score, separated by tabs")
                continue
            if not text.strip():
                continue
            if len(columns) != 3:
                raise error_at(path, line, f"{len(columns)} columns; query-id, corpus-id and score are needed, by tabs")
            try:
                yield f"{path}:{line}", Judgment(columns[0], columns[1], int(columns[2]))
            except ValueError:
                raise error_at(path, line, f"the score {columns[2]!r} is not a whole number") from None


def _one_of(folder: Path, name: str) -> Path:
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(found) != 1:
        what = "both are there; keep one" if found else "neither is there; see data/README.md for the format"
        raise GenirError(f"{folder}: needs {name} or {name}.gz: {what}")
    return found[0]


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        row = parse_json_line(text, path, line)
        if not isinstance(row, dict):
            raise error_at(path, line, "a JSON object is needed on each line")
        yield line, row


def _text(row: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    value = row.get(key)
    if value is None and key != "text":
        return ""
    if key not in row:
        raise error_at(path, line, f"{key} is missing")
    if not isinstance(value, str):
        raise error_at(path, line, f"{key} must be a string, not {value!r}")
    if not is_encodable(value):
        raise error_at(path, line, f"{key} holds half of a surrogate pair, which is no character")
    return value

"""BEIR folders as collections. Error messages have one line, with the file and the line number of the error."""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.checks import is_encodable, parse_int
from genir.collection.base import Collection, require_new_id
from genir.config.base import SPLIT_NAME
from genir.console import print_note
from genir.errors import GenirError, error_at
from genir.files import list_folder, numbered_lines, parse_json_line
from genir.records import Document, Judgment, Query

QRELS_HEADER = ("query-id", "corpus-id", "score")


def read_documents(path: Path) -> Iterator[Document]:
    """Yield the documents of a `corpus.jsonl[.gz]`.

    Raises GenirError for a malformed line, a duplicate id, and a file without documents.
    """
    seen: set[str] = set()
    for line, record in iterate_json_objects(path):
        doc_id = require_new_id(record.get("_id"), seen, "_id", path, line)
        title, text, url = (require_string(record, key, path, line) for key in ("title", "text", "url"))
        yield Document(doc_id, title, text, url)
    if not seen:
        raise GenirError(f"{path}: this file contains no documents")


class BeirCollection(Collection):
    """A folder with `corpus.jsonl[.gz]`, `queries.jsonl[.gz]` and `qrels/SPLIT.tsv[.gz]`.

    splits: name of a split -> name of its file in qrels/, for splits that are not named after their file. Raises
    GenirError if a file is missing, or exists both plain and compressed.
    """

    def __init__(self, folder: Path, splits: Mapping[str, str]) -> None:
        if not os.path.isdir(folder):  # noqa: PTH112  Path.is_dir raises an error where access is not permitted
            raise GenirError(
                f"{folder}: no such folder; give a BEIR folder or irds:ID (the ids are at ir-datasets.com)"
            )
        self.name = str(folder)
        self.corpus = _plain_or_gzip(folder, "corpus.jsonl")
        self._queries = _plain_or_gzip(folder, "queries.jsonl")
        qrels = folder / "qrels"
        entries = list_folder(qrels)
        names = {name.removesuffix(".gz") for name in entries if name.endswith((".tsv", ".tsv.gz"))}
        if unread := [name for name in entries if not name.startswith(".") and name.removesuffix(".gz") not in names]:
            print_note(f"{qrels}: not read, since their names do not end with .tsv or .tsv.gz: {', '.join(unread)}")
        files = {split: _plain_or_gzip(qrels, f"{split}.tsv") for split in select_splits(names, qrels)}
        renamed = set(splits.values())
        self._qrels = {name: file for name, file in files.items() if name not in renamed}
        for ours, theirs in splits.items():
            if theirs not in files:
                raise GenirError(f"{folder}: there is no qrels/{theirs}.tsv, which collection.splits.{ours} names")
            self._qrels[ours] = files[theirs]

    @property
    def splits(self) -> list[str]:
        return list(self._qrels)

    def documents(self) -> Iterator[Document]:
        return read_documents(self.corpus)

    def queries(self) -> Iterator[Query]:
        path = self._queries
        seen: set[str] = set()
        for line, record in iterate_json_objects(path):
            query = Query(
                require_new_id(record.get("_id"), seen, "_id", path, line), require_string(record, "text", path, line)
            )
            if not query.text.strip():
                raise error_at(path, line, "the query is empty")
            yield query

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._qrels[split]
        for line, judgment in read_judgments(path):
            yield f"{path}:{line}", judgment


def read_judgments(path: Path) -> Iterator[tuple[int, Judgment]]:
    """Yield the judgments of a `qrels/SPLIT.tsv[.gz]` with their line numbers; malformed ones raise GenirError."""
    for line, text in numbered_lines(path):
        columns = text.split("\t")
        if line == 1:
            if tuple(columns) != QRELS_HEADER:
                raise error_at(path, 1, "the header must be query-id, corpus-id, score, separated by tabs")
            continue
        if not text.strip():
            continue
        if len(columns) != 3:
            raise error_at(
                path,
                line,
                f"a line must be query-id, corpus-id, score, separated by tabs; found {len(columns)} columns",
            )
        try:
            yield line, Judgment(columns[0], columns[1], parse_int(columns[2].strip(" ")))
        except ValueError:
            raise error_at(path, line, f"the score {columns[2]!r} is not a whole number") from None


def select_splits(files: Iterable[str], folder: Path) -> list[str]:
    """Return the sorted names of the splits to which files such as test.tsv belong.

    A hidden file, such as the ._test.tsv that macOS adds, and one whose name cannot be that of a split, such as
    "test (copy).tsv", are left out; a note names the latter. folder: the folder of the files, for the note.
    """
    names = sorted(file.removesuffix(".tsv") for file in files if not file.startswith("."))
    ignored = [f"{name}.tsv" for name in names if not re.fullmatch(SPLIT_NAME, name)]
    if ignored:
        print_note(
            f"{folder}: not read: {', '.join(ignored)}; the name of a split has only letters, digits, _, - and ."
        )
    return [name for name in names if f"{name}.tsv" not in ignored]


def _plain_or_gzip(folder: Path, name: str) -> Path:
    """Return FOLDER/NAME or FOLDER/NAME.gz; raises GenirError unless exactly one of them exists."""
    found = [path for path in (folder / name, folder / f"{name}.gz") if os.path.isfile(path)]  # noqa: PTH113  as above
    if len(found) != 1:
        if found:
            raise GenirError(f"{folder}: both {name} and {name}.gz exist; keep one")
        raise GenirError(f"{folder}: has neither {name} nor {name}.gz; data/README.md describes the format")
    return found[0]


def iterate_json_objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the JSON objects of a JSONL file with their line numbers; blank lines are skipped."""
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        record = parse_json_line(text, path, line)
        if not isinstance(record, dict):
            raise error_at(path, line, "each line must be a JSON object")
        yield line, record


def require_string(record: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    """Return the string under `key`, or an empty string if a key other than "text" is missing or null."""
    value = record.get(key)
    if value is None and key != "text":
        return ""
    if key not in record:
        raise error_at(path, line, f"{key} is missing")
    if not isinstance(value, str):
        raise error_at(path, line, f"{key} must be a string, got {value!r}")
    if not is_encodable(value):
        raise error_at(path, line, f"{key} contains an unpaired surrogate, which is not a valid character")
    return value

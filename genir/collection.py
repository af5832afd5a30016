"""Collections in: BEIR folders (gz or not) and ir_datasets ids behind one `open_collection`.

Documents, queries and judgments are streamed; what is wrong in a file is one line that names the file and the line.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.errors import GenirError, at
from genir.files import numbered_lines
from genir.given import encodes, is_id
from genir.records import Document, Judgment, Query

QRELS_HEADER = ("query-id", "corpus-id", "score")


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


def read_documents(path: Path) -> Iterator[Document]:
    """The documents of a `corpus.jsonl[.gz]`; what is malformed, twice there or missing raises GenirError."""
    seen: set[str] = set()
    for line, row in _json_rows(path):
        doc_id = _checked_id(row, seen, path, line)
        title, text, url = (_text(row, key, path, line) for key in ("title", "text", "url"))
        yield Document(doc_id, title, text, url)
    if not seen:
        raise GenirError(f"{path}: there is no document in this file")


def open_collection(path: str | Path, splits: Mapping[str, str] | None = None) -> Collection:
    """Open a BEIR folder, or an ir_datasets id written `irds:beir/nfcorpus`.

    `splits` maps our names (train, dev, test) to the source's, where they differ.
    """
    if str(path).startswith("irds:"):
        return IrDatasetsCollection(str(path).removeprefix("irds:"), splits or {})
    return BeirCollection(Path(path), splits or {})


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
            query = Query(_checked_id(row, seen, self._queries, line), _text(row, "text", self._queries, line))
            if not query.text.strip():
                raise at(self._queries, line, "the query is empty")
            yield query

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._qrels[split]
        for line, text in numbered_lines(path):
            columns = text.split("\t")
            if line == 1:
                if tuple(columns) != QRELS_HEADER:
                    raise at(path, 1, "the header must be query-id, corpus-id, score, separated by tabs")
                continue
            if not text.strip():
                continue
            if len(columns) != 3:
                raise at(path, line, f"{len(columns)} columns; query-id, corpus-id and score are needed, by tabs")
            try:
                yield f"{path}:{line}", Judgment(columns[0], columns[1], int(columns[2]))
            except ValueError:
                raise at(path, line, f"the score {columns[2]!r} is not a whole number") from None


class IrDatasetsCollection(Collection):
    """A dataset of the ir_datasets catalogue; a split is a dataset id below it, such as `beir/nfcorpus/test`."""

    def __init__(self, dataset_id: str, splits: Mapping[str, str]) -> None:
        import ir_datasets

        self.name = f"irds:{dataset_id}"
        try:
            self._root = ir_datasets.load(dataset_id)
        except KeyError:
            raise GenirError(f"{self.name}: ir_datasets knows no such id; the ids stand at ir-datasets.com") from None
        wanted = splits or {name: name for name in ("train", "dev", "validation", "test")}
        self._parts: dict[str, Any] = {}
        for ours, theirs in wanted.items():
            part = self._load_part(f"{dataset_id}/{theirs}")
            if part is not None:
                self._parts["dev" if ours == "validation" else ours] = part
            elif splits:
                raise GenirError(f"{self.name}: no id {dataset_id}/{theirs}, which collection.splits.{ours} asks for")
        if not self._parts and self._root.has_qrels():
            self._parts["test"] = self._root

    @staticmethod
    def _load_part(part_id: str) -> Any:
        import ir_datasets

        try:
            part = ir_datasets.load(part_id)
        except KeyError:
            return None
        return part if part.has_qrels() else None

    @property
    def splits(self) -> list[str]:
        return list(self._parts)

    def documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for number, row in enumerate(self._root.docs_iter(), 1):
            doc_id = _checked_id({"_id": row.doc_id}, seen, Path(self.name), number)
            text = next((getattr(row, name) for name in ("text", "body") if hasattr(row, name)), None)
            title = getattr(row, "title", None) or ""
            yield Document(doc_id, title, row.default_text() if text is None else text, getattr(row, "url", "") or "")
        if not seen:
            raise GenirError(f"{self.name}: there is no document in this dataset")

    def queries(self) -> Iterator[Query]:
        seen: set[str] = set()
        for part in self._parts.values():
            for row in part.queries_iter():
                if row.query_id not in seen:
                    seen.add(row.query_id)
                    yield Query(row.query_id, row.default_text())

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        for number, row in enumerate(self._parts[split].qrels_iter(), 1):
            yield f"{self.name}:{split}:{number}", Judgment(row.query_id, row.doc_id, int(row.relevance))


def _one_of(folder: Path, name: str) -> Path:
    found = [path for path in (folder / name, folder / f"{name}.gz") if path.is_file()]
    if len(found) != 1:
        what = "both are there; keep one" if found else "neither is there; see data/README.md for the format"
        raise GenirError(f"{folder}: needs {name} or {name}.gz: {what}")
    return found[0]


def parse_json(text: str, path: Path, line: int) -> Any:
    """The value of a line of JSON; what is none, or more than Python reads, raises GenirError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise at(path, line, f"not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets as deep
        raise at(path, line, f"JSON that cannot be read: {str(error).split(';')[0]}") from None


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in numbered_lines(path):
        if not text.strip():
            continue
        row = parse_json(text, path, line)
        if not isinstance(row, dict):
            raise at(path, line, "a JSON object is needed on each line")
        yield line, row


def _checked_id(row: Mapping[str, Any], seen: set[str], path: Path, line: int) -> str:
    value = row.get("_id")
    if not is_id(value):
        raise at(path, line, f"_id must be a string without white space, not {value!r}")
    if value in seen:
        raise at(path, line, f"duplicate _id {value!r}")
    seen.add(value)
    return value


def _text(row: Mapping[str, Any], key: str, path: Path, line: int) -> str:
    value = row.get(key)
    if value is None and key != "text":
        return ""
    if key not in row:
        raise at(path, line, f"{key} is missing")
    if not isinstance(value, str):
        raise at(path, line, f"{key} must be a string, not {value!r}")
    if not encodes(value):
        raise at(path, line, f"{key} holds half of a surrogate pair, which is no character")
    return value

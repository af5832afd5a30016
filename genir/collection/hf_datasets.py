"""Collections in the layout of BEIR and MTEB on the Hugging Face hub, or in a folder of Parquet, Arrow or JSONL files.

They have three parts: corpus (`_id`, `title`, `text`), queries (`_id`, `text`) and qrels (`query-id`, `corpus-id`,
`score`), of which only qrels are divided into splits. The rows stay on disk: Arrow files are mapped into memory, and
others are read in batches.
"""

import importlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from genir.checks import parse_float
from genir.collection.base import Collection, require_new_id
from genir.collection.beir import QRELS_HEADER, iterate_json_objects, read_judgments, require_string
from genir.config.base import SPLIT_NAME
from genir.console import print_note
from genir.errors import GenirError, error_at
from genir.files import list_folder
from genir.files.hub import TIMEOUT, explain_hub_error, find_hub_problem, reading_cache_only
from genir.records import Document, Judgment, Query

QRELS_CONFIGS = ("qrels", "default")
"""The names of the qrels as a configuration or a folder; BEIR's own data sets have them in a data set NAME-qrels."""
FORMATS = (".parquet", ".arrow", ".jsonl", ".jsonl.gz")
BATCH_SIZE = 1000
_SHARD = re.compile(r"-(\d{5})-of-(\d{5})(?=\.)")
Row = tuple[Path, int, Mapping[str, Any]]
"""The place of a row in its file or data set (for error messages), and its columns."""


class Table(NamedTuple):
    """The rows of one split: those of a data set that `datasets` has loaded, or of files in one of FORMATS."""

    name: Path
    dataset: Any = None
    files: Sequence[Path] = ()

    def rows(self) -> Iterator[Row]:
        """Yield the rows from the beginning. Raises GenirError if a file is damaged."""
        if self.dataset is not None:
            yield from _dataset_rows(self.dataset, self.name)
        for file in self.files:
            yield from _file_rows(file)


Part = Mapping[str, Table]
"""Name of a split -> its rows."""


class HfDatasetsCollection(Collection):
    """A data set of the Hugging Face hub such as `mteb/scifact`, or a folder in the same layout.

    source: the name or the folder. splits: name of a split -> its name in the data set, for splits that are named
    otherwise; validation is called dev. Raises GenirError if there is no such data set or folder, if it lacks a part,
    and if the package `datasets`, which all but JSONL files need, is not installed.
    """

    def __init__(self, source: str, splits: Mapping[str, str]) -> None:
        self.name = f"hf:{source}"
        if not source.strip():
            raise GenirError("hf: has no name; give hf:OWNER/NAME, a data set of the Hugging Face hub, or hf:FOLDER")
        folder = Path(source)
        corpus, queries, qrels = _local_parts(folder) if folder.is_dir() else _hub_parts(source)
        self._corpus, self._query_tables = [*corpus.values()], [*queries.values()]
        renamed = {*splits.values()}
        self._qrels = {name: table for name, table in qrels.items() if name not in renamed}
        if "validation" in self._qrels and "dev" not in {*qrels, *splits}:
            self._qrels["dev"] = self._qrels.pop("validation")
        for ours, theirs in splits.items():
            if theirs not in qrels:
                raise GenirError(
                    f"{self.name}: the qrels have no split {theirs}, which collection.splits.{ours} names; "
                    f"there are: {', '.join(qrels)}"
                )
            self._qrels[ours] = qrels[theirs]

    @property
    def splits(self) -> list[str]:
        return list(self._qrels)

    def documents(self) -> Iterator[Document]:
        seen: set[str] = set()
        for place, number, row in (row for table in self._corpus for row in table.rows()):
            doc_id = require_new_id(_id_of(row), seen, "_id", place, number)
            yield Document(doc_id, *(require_string(row, key, place, number) for key in ("title", "text", "url")))
        if not seen:
            raise GenirError(f"{self.name}: the corpus contains no documents")

    def queries(self) -> Iterator[Query]:
        seen: set[str] = set()
        for place, number, row in (row for table in self._query_tables for row in table.rows()):
            query_id = require_new_id(_id_of(row), seen, "_id", place, number)
            text = require_string(row, "text", place, number)
            if not text.strip():
                raise error_at(place, number, "the query is empty")
            yield Query(query_id, text)

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        for place, number, row in self._qrels[split].rows():
            yield f"{place}:{number}", _parse_judgment(row, place, number)


def _id_of(row: Mapping[str, Any]) -> Any:
    """The id of a document or query, which newer data sets of MTEB call id."""
    return _as_id(row.get("_id", row.get("id")))


def _as_id(value: Any) -> Any:
    """An id as text: the reader of BEIR's qrels on the hub makes numbers of ids that consist of digits."""
    return str(value) if type(value) is int else value


def _parse_judgment(row: Mapping[str, Any], place: Path, number: int) -> Judgment:
    """Convert a row of the qrels. Without a column for the score, as in NanoBEIR, every judged document has grade 1."""
    wanted = QRELS_HEADER[:2] if len(row) == 2 else QRELS_HEADER
    if missing := [name for name in wanted if name not in row]:
        raise error_at(place, number, f"the qrels have no column {missing[0]}; there are: {', '.join(row)}")
    query_id, doc_id = (_as_id(row[name]) for name in QRELS_HEADER[:2])
    if not isinstance(query_id, str) or not isinstance(doc_id, str):
        raise error_at(place, number, f"query-id and corpus-id must be strings, got {query_id!r} and {doc_id!r}")
    score = row.get("score", 1)
    try:
        grade = parse_float(score) if isinstance(score, str) else float(score)
        if not grade.is_integer():
            raise ValueError
    except (TypeError, ValueError):
        raise error_at(place, number, f"the score {score!r} is not a whole number") from None
    return Judgment(query_id, doc_id, int(grade))


def _dataset_rows(dataset: Any, name: Path) -> Iterator[Row]:
    """Yield the rows of a data set. It is read in batches, which is more than ten times faster than single rows."""
    return _batch_rows(dataset.iter(BATCH_SIZE), name)


def _batch_rows(batches: Iterable[Mapping[str, Sequence[Any]]], name: Path) -> Iterator[Row]:
    """Yield the rows of batches, each of which has a list of values for each column."""
    number = 0
    for batch in batches:
        for values in zip(*batch.values(), strict=True):
            number += 1
            yield name, number, dict(zip(batch, values, strict=True))


def _file_rows(file: Path) -> Iterator[Row]:
    """Yield the rows of a file. JSONL is read by genir, since `datasets` makes dates of texts like 2020-01-01."""
    if file.name.endswith((".jsonl", ".jsonl.gz")):
        yield from ((file, line, record) for line, record in iterate_json_objects(file))
        return
    if file.name.endswith((".tsv", ".tsv.gz")):
        yield from ((file, line, dict(zip(QRELS_HEADER, row, strict=True))) for line, row in read_judgments(file))
        return
    try:
        if file.suffix == ".arrow":
            yield from _dataset_rows(_import_datasets(file).Dataset.from_file(str(file)), file)
        else:  # `datasets` would log errors of its own, and fail on a file without rows
            batches = _import_datasets(file, "pyarrow.parquet").ParquetFile(file).iter_batches(BATCH_SIZE)
            yield from _batch_rows((batch.to_pydict() for batch in batches), file)
    except (ValueError, OSError) as error:  # the errors of Arrow are subclasses of these
        raise GenirError(f"{file}: damaged, or not in the format of its name ({_first_line(error)})") from None


def _hub_parts(name: str) -> tuple[Part, Part, Part]:
    """Load the corpus, the queries and the qrels of a data set of the hub; they are downloaded once and mapped."""
    if not re.fullmatch(r"\w[\w.-]*(/\w[\w.-]*)?", name):
        raise GenirError(f"hf:{name}: no such folder (in {Path.cwd()})")
    datasets = _import_datasets(f"hf:{name}")
    from huggingface_hub import HfApi, errors

    try:
        problem = find_hub_problem(lambda: HfApi().dataset_info(name, timeout=TIMEOUT))
    except (errors.HfHubHTTPError, errors.HFValidationError) as error:
        place = f"hf:{name}: no such folder (in {Path.cwd()}), and not on the hub"
        raise GenirError(f"{place}: {explain_hub_error(error)}") from None
    with reading_cache_only() if problem else nullcontext():
        return _load_parts(name, datasets, problem)


def _load_parts(name: str, datasets: Any, problem: str) -> tuple[Part, Part, Part]:
    """Load the three parts; problem: why the hub cannot be reached, so that they must be in the cache, or empty."""
    try:
        configs = datasets.get_dataset_config_names(name)
    except Exception as error:  # the hub raises a dozen unrelated types
        reason = f"and the hub cannot be reached: {problem}" if problem else f"and not on the hub: {_first_line(error)}"
        raise GenirError(f"hf:{name}: no such folder (in {Path.cwd()}), {reason}") from None
    for part in ("corpus", "queries"):
        if part not in configs:
            raise GenirError(f"hf:{name}: has no configuration {part}; there are: {', '.join(configs)}")
    inside = next((config for config in QRELS_CONFIGS if config in configs), None)
    qrels = _load_from_hub(name, inside) if inside else _load_from_hub(f"{name}-qrels")
    return _load_from_hub(name, "corpus"), _load_from_hub(name, "queries"), qrels


def _load_from_hub(name: str, config: str | None = None) -> Part:
    try:
        loaded = _import_datasets(f"hf:{name}").load_dataset(name, config)
    except Exception as error:
        raise GenirError(f"hf:{name}: {config or 'qrels'} cannot be loaded: {_first_line(error)}") from None
    place = Path(f"hf:{name}") / (config or "")
    return {str(split): Table(place / str(split), dataset) for split, dataset in loaded.items()}


def _local_parts(folder: Path) -> tuple[Part, Part, Part]:
    """Find the corpus, the queries and the qrels of a folder."""
    corpus, queries = (_find_tables(folder, name) for name in ("corpus", "queries"))
    for name, part in (("corpus", corpus), ("queries", queries)):
        if not part:
            raise GenirError(
                f"{folder}: has no {name}; there must be a folder {name}/ with files in one of the formats "
                f"{', '.join(FORMATS)}, or a file such as {name}.parquet"
            )
    named = (_find_tables(folder, name, (*FORMATS, ".tsv", ".tsv.gz")) for name in QRELS_CONFIGS)
    qrels = next(filter(None, named), {})
    if not qrels:
        raise GenirError(
            f"{folder}: has no qrels; there must be a folder qrels/ with a file for each split. BEIR has them in "
            "another data set, NAME-qrels; copy its files there"
        )
    return corpus, queries, qrels


def _find_tables(folder: Path, name: str, formats: tuple[str, ...] = FORMATS) -> Part:
    """Find the tables of one part: FOLDER/NAME/ with files or with a saved data set, or files FOLDER/NAME.FORMAT.

    Returns split -> table; a file is named after its split, such as test.jsonl or test-00000-of-00002.parquet.
    """
    part = folder / name
    if (part / "dataset_dict.json").is_file() or (part / "state.json").is_file():
        return _load_from_disk(part)
    inside = [(entry, part / entry) for entry in list_folder(part)] if part.is_dir() else []
    beside = [(entry, folder / entry) for entry in list_folder(folder)] if folder.is_dir() and not inside else []
    tables: dict[str, Table] = {}
    unread = []
    for entry, path in inside or beside:
        suffix = next((suffix for suffix in formats if entry.endswith(suffix) and path.is_file()), None)
        stem = _SHARD.sub("", entry).removesuffix(suffix or "")
        if entry.startswith(".") or (not inside and stem != name):
            continue
        if suffix is None or not re.fullmatch(SPLIT_NAME, stem):
            unread.append(entry)
            continue
        table = tables.setdefault(stem, Table(path))
        tables[stem] = table._replace(files=[*table.files, path])
    for table in tables.values():
        _require_one_source(table.files)
        _require_all_shards(table.files)
    if unread and tables:
        print_note(f"{part}: not read: {', '.join(unread)}")
    return tables


def _require_one_source(files: Sequence[Path]) -> None:
    """Raise GenirError unless the files of a split are one file or the shards of one, and not two copies of it."""
    sources = {_SHARD.sub(r"-*-of-\2", file.name): file for file in files}
    if len(sources) > 1:
        first, second = sorted(sources.values())[:2]
        raise GenirError(f"{first.parent}: both {first.name} and {second.name} exist; keep one")


def _require_all_shards(files: Sequence[Path]) -> None:
    """Raise GenirError if a file is one of several shards, such as test-00000-of-00002.parquet, and others are missing.

    files: those of one split.
    """
    names = {file.name for file in files}
    for file in files:
        if shard := _SHARD.search(file.name):
            start, end = file.name[: shard.start(1)], file.name[shard.end(1) :]
            wanted = (f"{start}{number:05d}{end}" for number in range(int(shard[2])))
            if missing := [name for name in wanted if name not in names]:
                listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} others" if len(missing) > 3 else "")
                raise GenirError(f"{file}: one of {int(shard[2])} files; missing: {listed}; copy them too")


def _load_from_disk(folder: Path) -> Part:
    """Map what `save_to_disk` of a Dataset or a DatasetDict has written; a single Dataset is the split test."""
    datasets = _import_datasets(folder)
    try:
        loaded = datasets.load_from_disk(str(folder))
    except (ValueError, OSError, KeyError) as error:
        raise GenirError(f"{folder}: damaged ({_first_line(error)}); save the data set again") from None
    if isinstance(loaded, datasets.Dataset):
        return {"test": Table(folder, loaded)}
    return {str(split): Table(folder / str(split), dataset) for split, dataset in loaded.items()}


def _import_datasets(name: object, module: str = "datasets") -> Any:
    """Import the package `datasets`, which takes a second, or a module that comes with it; name: what needs it."""
    try:
        return importlib.import_module(module)
    except ImportError:
        raise GenirError(f"{name}: needs the package datasets; install the extra datasets of genir") from None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)

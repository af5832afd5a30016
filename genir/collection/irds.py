"""Datasets of the ir_datasets catalogue as collections."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.collection.base import Collection, require_new_id
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


class IrDatasetsCollection(Collection):
    """A dataset of the ir_datasets catalogue, such as `beir/nfcorpus`; a split is a dataset id below it, such as
    `beir/nfcorpus/test`.

    splits: our name of a split -> its id below `dataset_id`. Where it is empty, the splits are those of train, dev,
    validation (called dev here) and test that have judgments; a dataset with none of them that has judgments itself is
    the split test.
    """

    def __init__(self, dataset_id: str, splits: Mapping[str, str]) -> None:
        import ir_datasets

        self.name = f"irds:{dataset_id}"
        try:
            self._root = ir_datasets.load(dataset_id)
        except KeyError:
            raise GenirError(
                f"{self.name}: ir_datasets has no such id; the ids are listed at ir-datasets.com"
            ) from None
        wanted = splits or {name: name for name in ("train", "dev", "validation", "test")}
        self._parts: dict[str, Any] = {}
        for ours, theirs in wanted.items():
            part = self._load_part(f"{dataset_id}/{theirs}")
            if part is not None:
                self._parts["dev" if ours == "validation" else ours] = part
            elif splits:
                raise GenirError(
                    f"{self.name}: no id {dataset_id}/{theirs} with judgments, which collection.splits.{ours} asks for"
                )
        if not self._parts and self._root.has_qrels():
            self._parts["test"] = self._root

    @staticmethod
    def _load_part(part_id: str) -> Any:
        """Return the dataset of an id, or None where there is none or it has no judgments."""
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
        for number, record in enumerate(self._root.docs_iter(), 1):
            doc_id = require_new_id(record.doc_id, seen, "doc_id", Path(self.name), number)
            text = next((getattr(record, name) for name in ("text", "body") if hasattr(record, name)), None)
            title, url = (getattr(record, name, None) or "" for name in ("title", "url"))
            yield Document(doc_id, title, record.default_text() if text is None else text, url)
        if not seen:
            raise GenirError(f"{self.name}: this dataset contains no documents")

    def queries(self) -> Iterator[Query]:
        seen: set[str] = set()
        for part in self._parts.values():
            for record in part.queries_iter():
                if record.query_id not in seen:
                    seen.add(record.query_id)
                    yield Query(record.query_id, record.default_text())

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        for number, record in enumerate(self._parts[split].qrels_iter(), 1):
            yield f"{self.name}:{split}:{number}", Judgment(record.query_id, record.doc_id, int(record.relevance))

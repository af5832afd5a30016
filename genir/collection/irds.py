"""Datasets of the ir_datasets catalogue as collections."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.collection.base import Collection, checked_id
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


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
            doc_id = checked_id({"_id": row.doc_id}, seen, Path(self.name), number)
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

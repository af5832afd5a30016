"""Datasets of the ir_datasets catalogue as collections."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from genir.collection.base import Collection, require_new_id
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


class IrDatasetsCollection(Collection):
    """A dataset of the ir_datasets catalogue, such as `beir/nfcorpus`, whose splits are the datasets below its id.

    splits: name of a split -> the rest of its id after `dataset_id`, such as test for `beir/nfcorpus/test`. If it is
    empty, the splits are those of train, dev, validation (which is called dev) and test that have judgments; if there
    are none, the judgments of the dataset itself, if it has any, are the split test. Raises GenirError if
    ir_datasets does not have one of the ids.
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
                    f"{self.name}: ir_datasets has no judgments under {dataset_id}/{theirs}, which "
                    f"collection.splits.{ours} names"
                )
        if not self._parts and self._root.has_qrels():
            self._parts["test"] = self._root

    @staticmethod
    def _load_part(part_id: str) -> Any:
        """Return the dataset with an id, or None if there is none or it has no judgments."""
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
            for number, record in enumerate(part.queries_iter(), 1):
                if record.query_id not in seen:
                    query_id = require_new_id(record.query_id, seen, "query_id", Path(self.name), number)
                    yield Query(query_id, record.default_text())

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        for number, record in enumerate(self._parts[split].qrels_iter(), 1):
            yield f"{self.name}:{split}:{number}", Judgment(record.query_id, record.doc_id, int(record.relevance))

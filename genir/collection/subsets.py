"""Collections made from another: only judged queries, and only the documents that training queries point to."""

import json
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from genir.collection.base import Collection
from genir.console import track
from genir.errors import GenirError
from genir.records import Document, Judgment, Query


class JudgedSubset(Collection):
    """`source` with only the queries that have a judgment; a judgment that is given twice, word for word, counts once.

    MS MARCO's files list 808,731 train queries of which 502,939 are judged, and 10 judgments twice.
    """

    def __init__(self, source: Collection) -> None:
        self.source = source
        self.name = source.name

    @property
    def splits(self) -> list[str]:
        return self.source.splits

    def documents(self) -> Iterator[Document]:
        return self.source.documents()

    def queries(self) -> Iterator[Query]:
        judged = {judgment.query_id for split in self.splits for _, judgment in self.judgments(split)}
        return (query for query in self.source.queries() if query.id in judged)

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        seen: set[Judgment] = set()
        for place, judgment in self.source.judgments(split):
            if judgment not in seen:
                seen.add(judgment)
                yield place, judgment


class ClickedSubset(JudgedSubset):
    """The documents of `source` that a train judgment names, those with most of them first, equal ones in their order
    (Ultron, arXiv 2208.09257, and DDRO, arXiv 2504.05181: "top 300k", though there is no cap at 300,000).

    Judgments of other documents are left out, and with them the queries that have no judgment then.
    """

    def __init__(self, source: Collection, scratch: Path) -> None:
        super().__init__(source)
        self.scratch = scratch  # a folder for what is not kept

    @cached_property
    def clicks(self) -> Counter[str]:
        """doc_id -> number of train judgments that name it."""
        counts = Counter(judgment.doc_id for _, judgment in super().judgments("train") if judgment.grade > 0)
        if not counts:
            raise GenirError(f"{self.name}: no train judgment names a document")
        return counts

    def documents(self) -> Iterator[Document]:
        """Read once from start to end: the texts go to a temporary file, and come back in the order of their clicks."""
        clicks, starts = array("q"), array("q")
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.scratch) as texts:
            for document in track(self.source.documents(), "reading all documents"):
                if document.id in self.clicks:
                    clicks.append(self.clicks[document.id])
                    starts.append(texts.tell())
                    texts.write(json.dumps(document).encode() + b"\n")
            for row in np.argsort(-np.asarray(clicks, np.int64), kind="stable").tolist():
                texts.seek(starts[row])
                yield Document(*json.loads(texts.readline()))

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        return ((place, row) for place, row in super().judgments(split) if row.doc_id in self.clicks)

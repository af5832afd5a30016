"""Subsets of a collection: one with only the judged queries, and one with only the clicked documents as well."""

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
    """The documents and judgments of `source`, and its queries without the unjudged ones.

    A judgment that is repeated exactly is yielded once. MS MARCO's passage files list 808,731 train queries, of which
    502,939 are judged, and 10 judgments twice.
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
        for location, judgment in self.source.judgments(split):
            if judgment not in seen:
                seen.add(judgment)
                yield location, judgment


class ClickedSubset(JudgedSubset):
    """The clicked documents of `source`, those that are relevant to a train query, with their judgments and queries.

    The documents are sorted by descending number of clicks, that is, of train judgments with a grade above 0; documents
    with equal numbers keep their order. Judgments of other documents are omitted, and so are queries without any other
    judgments. This is the collection of Ultron (arXiv 2208.09257) and DDRO (arXiv 2504.05181), who call it "top 300k",
    although it is not limited to 300,000 documents.

    scratch: a folder for a temporary file with the texts of the subset.
    """

    def __init__(self, source: Collection, scratch: Path) -> None:
        super().__init__(source)
        self.scratch = scratch

    @cached_property
    def clicks(self) -> Counter[str]:
        """The clicks of each document: doc_id -> number of train judgments with a grade above 0.

        Raises GenirError if there are none.
        """
        counts = Counter(judgment.doc_id for _, judgment in super().judgments("train") if judgment.grade > 0)
        if not counts:
            raise GenirError(f"{self.name}: no train judgment has a grade above 0")
        return counts

    def documents(self) -> Iterator[Document]:
        """Yield the documents in order of their clicks.

        The source is read once from start to end. The texts are written to a temporary file and read back in the order
        of the clicks, so that they do not have to fit in memory.
        """
        clicks, offsets = array("q"), array("q")
        self.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.scratch) as texts:
            for document in track(self.source.documents(), "reading all documents"):
                if document.id in self.clicks:
                    clicks.append(self.clicks[document.id])
                    offsets.append(texts.tell())
                    texts.write(json.dumps(document).encode() + b"\n")
            for position in np.argsort(-np.asarray(clicks, np.int64), kind="stable").tolist():
                texts.seek(offsets[position])
                yield Document(*json.loads(texts.readline()))

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        return (
            (location, judgment) for location, judgment in super().judgments(split) if judgment.doc_id in self.clicks
        )

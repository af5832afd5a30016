"""Natural Questions as one page a title (NQ320K): the builds of NCI and of DDRO."""

from collections.abc import Iterator
from pathlib import Path

from genir.collection.base import Collection
from genir.collection.nq_pages import TitleKey, page
from genir.collection.sources import require
from genir.errors import error_at
from genir.files import numbered_lines, parse_json_line
from genir.records import Document, Judgment, Query

TRAIN, TEST, VOCABULARY = "simplified-nq-train.jsonl.gz", "nq-dev-all.jsonl.gz", "vocab.txt"


class NaturalQuestions(Collection):
    """The pages of all examples, train before test (the official dev set), each title once: the first one stays, and
    every question points to the page of its title (NCI, arXiv 2206.02743). A document's id is its example's.

    With `kept_only` a question counts only when its own example is the one that stayed (DDRO, arXiv 2504.05181), so
    that no test page has a train question.

    The files are read once, by `documents`; questions and judgments are known after that (about 60 MB for all).
    """

    def __init__(self, folder: Path, kept_only: bool = False) -> None:
        self.name = str(folder)
        self.kept_only = kept_only
        train, test, vocabulary = require(folder, [TRAIN, TEST, VOCABULARY], "nq")
        self._files = {"train": train, "test": test}
        self._key = TitleKey(vocabulary)
        self._questions: dict[str, list[tuple[int, Query, str]]] = {}  # split -> line, question, document

    @property
    def splits(self) -> list[str]:
        return list(self._files)

    def documents(self) -> Iterator[Document]:
        pages: dict[str, str] = {}  # title key -> doc_id
        asked: set[str] = set()
        self._questions = {split: [] for split in self._files}
        for split, path in self._files.items():
            for line, text in numbered_lines(path):
                if not text.strip():
                    continue
                query, document = self._example(text, path, line)
                if query.id in asked:
                    raise error_at(path, line, f"duplicate example_id {query.id}")
                asked.add(query.id)
                doc_id = pages.setdefault(document.title, document.id)
                if doc_id == document.id:
                    yield document
                if doc_id == document.id or not self.kept_only:
                    self._questions[split].append((line, query, doc_id))
        if not pages:
            raise error_at(self._files["train"], 1, "there is no example in this file")

    def _example(self, text: str, path: Path, line: int) -> tuple[Query, Document]:
        """An example's question and page; the page's id is the example's, its title is the one pages are told by."""
        try:
            row = parse_json_line(text, path, line)
            query = Query(str(row["example_id"]), " ".join(str(row["question_text"]).split()))
            found = page(row)
        except (KeyError, TypeError) as error:
            raise error_at(
                path, line, f"not an example of Natural Questions ({error!r}); is the file the official one?"
            ) from None
        title = self._key(found.title)
        if not title:
            raise error_at(path, line, f"example {query.id} has no title, no heading and no url to tell its page by")
        if not query.text:
            raise error_at(path, line, f"the question of example {query.id} is empty")
        return query, Document(query.id, title, found.text, found.url)

    def _read(self) -> dict[str, list[tuple[int, Query, str]]]:
        if not self._questions:
            for _ in self.documents():
                pass
        return self._questions

    def queries(self) -> Iterator[Query]:
        return (query for questions in self._read().values() for _, query, _ in questions)

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._files[split]
        return ((f"{path}:{line}", Judgment(query.id, doc_id, 1)) for line, query, doc_id in self._read()[split])

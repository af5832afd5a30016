"""Natural Questions with one document per page title (NQ320K), as NCI and as DDRO prepare it."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from genir.collection.base import Collection
from genir.collection.nq_pages import TitleKey, parse_page
from genir.collection.sources import require_raw_files
from genir.errors import error_at
from genir.files import numbered_lines, parse_json_line
from genir.records import Document, Judgment, Query

TRAIN, TEST, VOCABULARY = "simplified-nq-train.jsonl.gz", "nq-dev-all.jsonl.gz", "vocab.txt"
RAW_FILES = [TRAIN, TEST, VOCABULARY]


class Question(NamedTuple):
    """A question, the line of its example in the raw file, and the id of the document that answers it."""

    line: int
    query: Query
    doc_id: str


class NaturalQuestions(Collection):
    """The pages and questions of all examples of Natural Questions; the split test is the official dev set.

    The pages of train come before those of test. Of several pages with the same title, the first one becomes a
    document, and its id is the id of its example. Every question is judged to be answered by the document with the
    title of its page (NCI, arXiv 2206.02743).

    one_question_per_page: whether to omit a question if the page of its own example did not become a document (DDRO,
    arXiv 2504.05181), so that no page of a test question has a train question.

    The raw files are read once, by `documents`, which stores the questions and judgments (about 60 MB in total). Raises
    GenirError if raw files are missing.
    """

    def __init__(self, folder: Path, one_question_per_page: bool = False) -> None:
        self.name = str(folder)
        self.one_question_per_page = one_question_per_page
        train, test, vocabulary = require_raw_files(folder, RAW_FILES, "nq")
        self._files = {"train": train, "test": test}
        self._title_key = TitleKey(vocabulary)
        self._questions: dict[str, list[Question]] = {}  # split -> its questions

    @property
    def splits(self) -> list[str]:
        return list(self._files)

    def documents(self) -> Iterator[Document]:
        doc_ids: dict[str, str] = {}  # normalised title -> id of its document
        query_ids: set[str] = set()
        self._questions = {split: [] for split in self._files}
        for split, path in self._files.items():
            for line, text in numbered_lines(path):
                if not text.strip():
                    continue
                query, document = self._parse_example(text, path, line)
                if query.id in query_ids:
                    raise error_at(path, line, f"duplicate example_id {query.id}")
                query_ids.add(query.id)
                doc_id = doc_ids.setdefault(document.title, document.id)
                if doc_id == document.id:
                    yield document
                if doc_id == document.id or not self.one_question_per_page:
                    self._questions[split].append(Question(line, query, doc_id))
        if not doc_ids:
            raise error_at(self._files["train"], 1, "this file contains no examples")

    def _parse_example(self, text: str, path: Path, line: int) -> tuple[Query, Document]:
        """Return the question and the page of an example; the title of the page is its normalised title."""
        try:
            example = parse_json_line(text, path, line)
            query = Query(str(example["example_id"]), " ".join(str(example["question_text"]).split()))
            page = parse_page(example)
        except (KeyError, TypeError) as error:
            raise error_at(
                path,
                line,
                f"this line is not an example of Natural Questions ({error!r}); is the file the official one?",
            ) from None
        title = self._title_key(page.title)
        if not title:
            raise error_at(path, line, f"example {query.id} has no title, heading or url that identifies its page")
        if not query.text:
            raise error_at(path, line, f"the question of example {query.id} is empty")
        return query, Document(query.id, title, page.text, page.url)

    def _read_questions(self) -> dict[str, list[Question]]:
        if not self._questions:
            for _ in self.documents():
                pass
        return self._questions

    def queries(self) -> Iterator[Query]:
        return (question.query for questions in self._read_questions().values() for question in questions)

    def judgments(self, split: str) -> Iterator[tuple[str, Judgment]]:
        self.require_split(split)
        path = self._files[split]
        for question in self._read_questions()[split]:
            yield f"{path}:{question.line}", Judgment(question.query.id, question.doc_id, 1)

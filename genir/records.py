"""Documents, queries and judgments as named tuples, and the hits of a search."""

from collections.abc import Iterator, Sequence
from html import escape
from typing import NamedTuple, overload

from genir.errors import make_printable, quote


class Document(NamedTuple):
    """One document of a collection; `id` is its doc_id, the collection's own identifier."""

    id: str
    title: str
    text: str
    url: str = ""

    @property
    def body(self) -> str:
        """Title and text as one string."""
        return f"{self.title} {self.text}".strip()


class Query(NamedTuple):
    """One query of a collection."""

    id: str
    text: str


class Judgment(NamedTuple):
    """A relevance judgment (qrel): the grade of a document for a query; grade 0 means not relevant."""

    query_id: str
    doc_id: str
    grade: int


class Hit(NamedTuple):
    """One ranked document; `score` is the natural log-probability of its docid given the query.

    docid_text: the docid in readable form: its codes joined by hyphens, or the text of a text docid.
    """

    rank: int
    doc_id: str
    score: float
    docid: tuple[int, ...]
    title: str
    docid_text: str = ""

    @property
    def shown_docid(self) -> str:
        """The docid as it is shown to people, with its control characters escaped."""
        return make_printable(self.docid_text or "-".join(map(str, self.docid)))


class Hits(Sequence[Hit]):
    """The ranked documents for one query: a sequence of `Hit`, shown as a table in a terminal and in a notebook.

    exact: whether all hits are proven to be the model's best documents, rather than only the best that the beams
    reached. num_proven: how many of the first hits are proven to be the model's best documents, in this order; by
    default all of them if exact, else none.
    """

    def __init__(self, query: str, hits: Sequence[Hit], exact: bool, num_proven: int | None = None) -> None:
        self.query = query
        self.exact = exact
        self.num_proven = (len(hits) if exact else 0) if num_proven is None else num_proven
        self._hits = tuple(hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Hit]: ...
    def __getitem__(self, index: int | slice) -> Hit | Sequence[Hit]:
        return self._hits[index]

    def __len__(self) -> int:
        return len(self._hits)

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hits) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @property
    def _key(self) -> tuple[object, ...]:
        return self.query, self.exact, self._hits

    def __repr__(self) -> str:
        rows = [("rank", "score", "doc_id", "docid", "title")]
        for hit in self:
            docid = hit.shown_docid
            rows.append(
                (str(hit.rank), f"{hit.score:.3f}", make_printable(hit.doc_id), docid, make_printable(hit.title))
            )
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [
            f"{rank:>{widths[0]}}  {score:>{widths[1]}}  {doc_id:<{widths[2]}}  {docid:<{widths[3]}}  {title}".rstrip()
            for rank, score, doc_id, docid, title in rows
        ]
        return "\n".join([self._heading, *lines])

    @property
    def _heading(self) -> str:
        """The query, the number of hits, and whether they are proven to be the best."""
        proven = ", exact" if self.exact else ""
        return f"{quote(self.query)}: {len(self)} {'hit' if len(self) == 1 else 'hits'}{proven}"

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{name}</th>" for name in ("rank", "score", "doc_id", "docid", "title"))
        body = "".join(
            f"<tr><td>{h.rank}</td><td>{h.score:.3f}</td><td>{_escape_html(h.doc_id)}</td>"
            f"<td>{escape(h.shown_docid)}</td><td>{_escape_html(h.title)}</td></tr>"
            for h in self
        )
        return f"<table><caption>{escape(self._heading)}</caption><tr>{head}</tr>{body}</table>"


def _escape_html(text: str) -> str:
    return escape(make_printable(text))

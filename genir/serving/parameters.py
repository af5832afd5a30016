"""What clients send: the parameters of requests, as OpenAPI describes them."""

import re
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from genir.errors import quote
from genir.serving.limits import MAX_BEAMS, MAX_EXPLAINED, MAX_HITS, MAX_K, MAX_QUERIES, MAX_QUERY_LENGTH, MAX_RANKED

EXAMPLE_QUERY = "how do owls hunt in the dark"


def _require_word(query: str) -> str:
    if not query.strip():
        raise ValueError("the query is empty; it needs at least one word")
    return query


def _parse_number(text: object) -> object:
    """Parse the digits of a parameter in an address, without the other forms that pydantic accepts, such as 1_000."""
    return int(text) if isinstance(text, str) and re.fullmatch("[+-]?[0-9]{1,18}", text) else text


QueryText = Annotated[str, Field(max_length=MAX_QUERY_LENGTH), AfterValidator(_require_word)]
Count = Annotated[int, Field(ge=1, le=MAX_K, strict=True, description="How many documents to find.")]
Digits = BeforeValidator(_parse_number)
Exact = Annotated[
    bool,
    Field(description="Search until the hits are proven to be the model's best, or until it takes too long."),
]
Timeout = Annotated[
    float | None,
    Field(gt=0, description="Milliseconds after which the request gives up; at most the timeout of the service."),
]


class _Parameters(BaseModel):
    """The parameters of a request; an unknown one is refused, since a misspelt parameter would otherwise be ignored."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def require_known(cls, given: object) -> object:
        """Raise ValueError for a parameter that does not exist."""
        unknown = next((x for x in given if x not in cls.model_fields), None) if isinstance(given, dict) else None
        if unknown is not None:
            raise ValueError(f"{quote(unknown)}: there is no such parameter; there are {', '.join(cls.model_fields)}")
        return given


class _Body(_Parameters):
    """The parameters in the body of a request, whose values must have the type of JSON that they are meant to have."""

    model_config = ConfigDict(strict=True)


def with_example(example: dict[str, Any]) -> ConfigDict:
    """The configuration of a model with an example."""
    return ConfigDict(json_schema_extra={"examples": [example]})


class SearchParameters(_Parameters):
    """The parameters of GET /search."""

    query: QueryText = Field(description="The text to search for.", examples=[EXAMPLE_QUERY])
    k: Annotated[Count, Digits] = 10
    exact: Exact = False


class SearchRequest(_Body):
    """The body of POST /search: one query or many."""

    model_config = with_example({"queries": [EXAMPLE_QUERY, "why is the sky blue"], "k": 3})
    query: QueryText | None = Field(None, description="One text to search for; the answer is a SearchResult.")
    queries: list[QueryText] | None = Field(
        None, min_length=1, max_length=MAX_QUERIES, description="Texts to search for; the answer is SearchResults."
    )
    k: Count = 10
    beams: Annotated[int, Field(ge=1, le=MAX_BEAMS)] | None = Field(
        None,
        description="Beam size: more beams are slower and miss less; fewer than k may find fewer than k documents. "
        f"By default k + 10, but at most {MAX_BEAMS:,}.",
    )
    exact: Exact = False
    allowed: list[str] | None = Field(
        None, min_length=1, description="The doc_ids of the documents to search among. By default all documents."
    )
    timeout_ms: Timeout = None

    @model_validator(mode="after")
    def require_queries(self) -> Self:
        """Raise ValueError unless there are either one query or several, and not too many hits."""
        if (self.query is None) == (self.queries is None):
            raise ValueError("give either query, a text, or queries, a list of texts")
        if len(self.texts) * self.k > MAX_HITS:
            raise ValueError(f"{len(self.texts)} queries with k={self.k}: at most {MAX_HITS:,} hits can be asked for")
        return self

    @property
    def texts(self) -> list[str]:
        """The texts of the query or the queries."""
        return [self.query] if self.query is not None else self.queries or []


class RankRequest(_Body):
    """The body of POST /rank."""

    model_config = with_example({"query": EXAMPLE_QUERY, "doc_ids": ["b4", "c12"]})
    query: QueryText
    doc_ids: list[str] = Field(
        min_length=1, max_length=MAX_RANKED, description="The documents to rank, each one once, such as BM25's."
    )
    timeout_ms: Timeout = None


class ExplainParameters(_Parameters):
    """The parameters of GET /explain, which explains a search, or the score of the document doc_id."""

    query: QueryText = Field(description="The query.", examples=[EXAMPLE_QUERY])
    doc_id: str | None = Field(None, description="The document whose score is explained.")
    k: Annotated[int, Field(strict=True), Digits] = Field(
        10, ge=1, le=MAX_EXPLAINED, description="How many documents the search finds."
    )
    beams: Annotated[int, Field(ge=1, le=MAX_EXPLAINED, strict=True), Digits] | None = Field(
        None, description=f"Beam size of the search. By default k + 10, but at most {MAX_EXPLAINED}."
    )

    @model_validator(mode="after")
    def require_search(self) -> Self:
        """Raise ValueError for a document with options of a search."""
        if self.doc_id is not None and self.model_fields_set & {"k", "beams"}:
            raise ValueError("k and beams are options of a search; leave them out to explain the score of a doc_id")
        return self

"""What clients receive, as OpenAPI describes it."""

from pydantic import BaseModel

from genir.records import Hits
from genir.scoring.explanation import Explanation
from genir.serving.parameters import EXAMPLE_QUERY, with_example


class Hit(BaseModel):
    """One ranked document. score: the natural log-probability of its docid given the query.

    docid_text: the docid in readable form: its codes joined by hyphens, or the text of a text docid.
    """

    rank: int
    doc_id: str
    title: str
    score: float
    docid: list[int]
    docid_text: str


class Timings(BaseModel):
    """The milliseconds that a query waited, and those of the search, which may be shared with other queries."""

    queue_ms: float
    search_ms: float


_HIT = {"rank": 1, "doc_id": "b4", "title": "Barn owl", "score": -0.31, "docid": [3, 17], "docid_text": "3-17"}
_RESULT = {"query": EXAMPLE_QUERY, "exact": True, "num_proven": 1, "hits": [_HIT]}
_TIMINGS = {"queue_ms": 1.2, "search_ms": 27.5}


class RankResult(BaseModel):
    """The given documents, best first."""

    model_config = with_example({"query": EXAMPLE_QUERY, "hits": [_HIT], "timings": _TIMINGS})
    query: str
    hits: list[Hit]
    timings: Timings


class SearchResult(BaseModel):
    """The hits of one query.

    exact: whether all hits are proven to be the model's best documents. num_proven: how many of the first hits are.
    """

    model_config = with_example(_RESULT | {"timings": _TIMINGS})
    query: str
    exact: bool
    num_proven: int
    hits: list[Hit]
    timings: Timings


class SearchResults(BaseModel):
    """The results of several queries, in their order."""

    model_config = with_example({"results": [_RESULT | {"timings": _TIMINGS}]})
    results: list[SearchResult]


class ExplainedLevel(BaseModel):
    """One level of the docid at which it has siblings; logp = prior + model."""

    level: int
    code: int
    label: str
    siblings: int
    logp: float
    prior: float
    model: float
    shared: bool


class ExplainResult(BaseModel):
    """The score of a document for a query, and where it comes from: score = prior + model, each a sum over levels."""

    model_config = with_example(
        {
            "query": EXAMPLE_QUERY, "doc_id": "b4", "docid": [3, 17], "docid_text": "3-17",
            "score": -0.31, "prior": -0.52, "model": 0.21,
            "experts": {"text": 9.1},
            "levels": [
                {
                    "level": 1, "code": 3, "label": "3", "siblings": 64,
                    "logp": -0.2, "prior": -0.4, "model": 0.2, "shared": False,
                }
            ],
        }
    )  # fmt: skip
    query: str
    doc_id: str
    docid: list[int]
    docid_text: str
    score: float
    prior: float
    model: float
    experts: dict[str, float]
    levels: list[ExplainedLevel]

    @classmethod
    def of(cls, found: Explanation) -> "ExplainResult":
        """The JSON form of an explanation."""
        levels = [ExplainedLevel(**level._asdict()) for level in found.levels]
        return cls(
            query=found.query,
            doc_id=found.doc_id,
            docid=list(found.docid),
            docid_text=found.docid_text,
            score=found.score,
            prior=found.prior,
            model=found.model,
            experts=found.experts,
            levels=levels,
        )


class LevelCounts(BaseModel):
    """What became of the prefixes of one level; pruned_p: the total probability of those that were pruned."""

    level: int
    considered: int
    kept: int
    hits: int
    pruned_p: float


class ExplainedPrefix(BaseModel):
    """A prefix of docids that a search considered; logp = prior + model, of the whole prefix and of its last code.

    text, label: all codes in readable form, and those that the parent does not have. codes: all codes; those after
    `level` have no alternatives. status: kept, pruned or hit. documents: how many begin with the prefix; doc_id, title:
    the document if there is only one. children: the prefixes one code longer that are shown, most likely first. others:
    how many more were pruned; others_logp: the log of their total probability.
    """

    codes: list[int]
    text: str
    label: str
    level: int
    status: str
    documents: int
    logp: float
    prior: float
    model: float
    code_logp: float
    code_prior: float
    code_model: float
    shared: bool
    rank: int | None
    doc_id: str | None
    title: str | None
    children: list["ExplainedPrefix"]
    others: int
    others_logp: float | None


_NUMBERS = {
    "logp": -0.31, "prior": -0.52, "model": 0.21, "code_logp": -0.31, "code_prior": -0.52, "code_model": 0.21
}  # fmt: skip
_LEAF = {
    "codes": [3, 17], "text": "3-17", "label": "3-17", "level": 1, "status": "hit", "documents": 1,
    **_NUMBERS, "shared": False,
    "rank": 1, "doc_id": "b4", "title": "Barn owl", "children": [], "others": 0, "others_logp": None,
}  # fmt: skip
_ROOT = {
    **_LEAF, "codes": [], "text": "", "label": "", "level": 0, "status": "kept", "documents": 64,
    **dict.fromkeys(_NUMBERS, 0.0),
    "rank": None, "doc_id": None, "title": None, "children": [_LEAF], "others": 63, "others_logp": -1.32,
}  # fmt: skip


class SearchExplanationResult(BaseModel):
    """What a search did: the prefixes that its beams held, and the most likely of those that it pruned, as a tree.

    bound: the best log-probability of a pruned prefix that might have led to a hit. experts: what gave the priors.
    """

    model_config = with_example(
        _RESULT
        | {"beams": 1, "bound": -1.94, "experts": ["text"], "tree": _ROOT}
        | {"levels": [{"level": 1, "considered": 64, "kept": 0, "hits": 1, "pruned_p": 0.27}]}
    )
    query: str
    beams: int
    exact: bool
    num_proven: int
    bound: float | None
    hits: list[Hit]
    experts: list[str]
    levels: list[LevelCounts]
    tree: ExplainedPrefix


def list_hits(hits: Hits) -> list[Hit]:
    """The JSON form of hits."""
    return [Hit(**hit._asdict() | {"docid": list(hit.docid)}) for hit in hits]

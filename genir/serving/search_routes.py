"""The endpoints that search, rank and explain."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from genir.decoding.deadline import Deadline
from genir.records import Hits
from genir.retriever import Retriever
from genir.serving.batching import Done
from genir.serving.errors import describe_errors
from genir.serving.limits import MAX_EXPLAINED, choose_beams
from genir.serving.parameters import ExplainParameters, RankRequest, SearchParameters, SearchRequest
from genir.serving.schemas import (
    ExplainResult,
    RankResult,
    SearchExplanationResult,
    SearchResult,
    SearchResults,
    Timings,
    list_hits,
)
from genir.serving.searching import Searcher, SearchOptions
from genir.serving.validation import StrictRoute


def make_search_routes(searcher: Searcher) -> APIRouter:
    """Create the endpoints /search, /rank and /explain."""
    routes = APIRouter(tags=["search"], responses=describe_errors(401, 422, 503, 504), route_class=StrictRoute)

    @routes.get("/search", summary="Search with one query")
    async def search_one(request: Request, parameters: Annotated[SearchParameters, Query()]) -> SearchResult:
        """Find the k best documents for a query, and tell whether they are proven to be the model's best."""
        options = SearchOptions.of(parameters.k, None, parameters.exact, None)
        return make_result((await searcher.search(request, [parameters.query], options))[0])

    @routes.post("/search", summary="Search with one query or many", responses=describe_errors(413))
    async def search(request: Request, body: SearchRequest) -> SearchResult | SearchResults:
        """Find the k best documents for each query; one `query` has one result, and `queries` have a list of results.

        A query has the same result whether it is sent alone or together with others.
        """
        options = SearchOptions.of(body.k, body.beams, body.exact, body.allowed)
        results = [make_result(x) for x in await searcher.search(request, body.texts, options, body.timeout_ms)]
        return results[0] if body.query is not None else SearchResults(results=results)

    @routes.post("/rank", summary="Rank given documents", responses=describe_errors(413))
    async def rank(request: Request, body: RankRequest) -> RankResult:
        """Rank given documents, such as those that another system found, by their probability among all documents."""

        def call(retriever: Retriever, deadline: Deadline) -> Hits:
            return retriever.rank(body.query, body.doc_ids, deadline)

        done = await searcher.call(request, call, body.timeout_ms)
        return RankResult(query=body.query, hits=list_hits(done.result), timings=make_timings(done))

    @routes.get("/explain", summary="Explain a search, or the score of a document")
    async def explain(
        request: Request, parameters: Annotated[ExplainParameters, Query()]
    ) -> ExplainResult | SearchExplanationResult:
        """Tell which prefixes of docids a search considers, and what became of them.

        With a `doc_id`, tell what the experts and the model add to the score of this document, level by level.
        """
        query, doc_id, k = parameters.query, parameters.doc_id, parameters.k
        beams = choose_beams(k, parameters.beams, MAX_EXPLAINED)

        def call(retriever: Retriever, deadline: Deadline) -> ExplainResult | SearchExplanationResult:
            if doc_id is not None:
                return ExplainResult.of(retriever.explain(query, doc_id, timeout=deadline))
            found = retriever.explain(query, k=k, beams=beams, timeout=deadline)
            return SearchExplanationResult.model_validate(found.to_dict())

        return (await searcher.call(request, call)).result

    return routes


def make_result(done: Done[Hits]) -> SearchResult:
    """The answer to one query."""
    hits = done.result
    return SearchResult(
        query=hits.query,
        exact=hits.exact,
        num_proven=hits.num_proven,
        hits=list_hits(hits),
        timings=make_timings(done),
    )


def make_timings(done: Done[Hits]) -> Timings:
    """How long a query waited and was searched, in milliseconds."""
    return Timings(queue_ms=round(done.queued * 1000, 2), search_ms=round(done.taken * 1000, 2))

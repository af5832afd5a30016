"""The endpoints with which the service is monitored."""

from collections.abc import Sequence

from fastapi import APIRouter
from fastapi.params import Depends
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel
from starlette.responses import Response

from genir.serving.errors import describe_errors
from genir.serving.metrics import Metrics
from genir.serving.reloading import ServedRetriever


class Alive(BaseModel):
    """The answer of a service that is running."""

    status: str = "alive"


class Ready(BaseModel):
    """The answer of a service that can search. documents: how many documents it searches."""

    status: str = "ready"
    documents: int


def make_monitoring_routes(
    served: ServedRetriever, metrics: Metrics, key_security: Sequence[Depends] = ()
) -> APIRouter:
    """Create the endpoints /health, /ready and /metrics.

    key_security: the dependencies by which OpenAPI learns that /metrics needs the API key; empty without a key.
    """
    routes = APIRouter(tags=["monitoring"])

    @routes.get("/health", summary="Whether the process is alive")
    async def health() -> Alive:
        """Answer whenever the process runs; it should be restarted if it does not answer."""
        return Alive()

    @routes.get("/ready", summary="Whether the service can search")
    async def ready() -> Ready:
        """Answer 200; no request is answered before the model is loaded and a first search has succeeded."""
        return Ready(documents=len(served.current.table))

    @routes.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,  # one without a media type, since errors are JSON and the metrics are text
        responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **describe_errors(401)},
        dependencies=key_security,
    )
    async def show_metrics() -> Response:
        """Requests, latencies, queues, batch sizes, beam sizes, certified searches and documents."""
        return Response(metrics.render(), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return routes

"""The application of the HTTP service: its endpoints, and what every request passes through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Security
from fastapi.security import HTTPBearer
from fastapi.staticfiles import StaticFiles
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import FileResponse, HTMLResponse

import genir
from genir.serving.authentication import ApiKey
from genir.serving.docs_page import render_docs
from genir.serving.errors import UnexpectedErrors, handle_errors
from genir.serving.head_requests import HeadRequests
from genir.serving.limits import BodyLimit
from genir.serving.metrics import Metrics
from genir.serving.monitoring import make_monitoring_routes
from genir.serving.recording import Recorder
from genir.serving.reloading import FolderWatcher, ServedRetriever
from genir.serving.search_routes import make_search_routes
from genir.serving.searching import Searcher
from genir.serving.settings import ServiceSettings

PAGE = Path(__file__).parent / "page"
_ROUTES = {"/search", "/rank", "/explain", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/"}
_OPEN = {"/health", "/ready", "/", "/docs", "/openapi.json"}


def create_app(served: ServedRetriever, settings: ServiceSettings) -> FastAPI:
    """Create the application, which answers with JSON and describes itself at /docs and /openapi.json.

    Raises GenirError for a timeout that is not a positive number of seconds.
    """
    metrics = Metrics()
    searcher = Searcher(served, settings, metrics)
    app = FastAPI(
        title="genir",
        version=genir.__version__,
        description="Generative retrieval: finds documents by generating their identifiers. The header X-Request-ID of "
        "an answer has the id of the request; a client may choose it by sending this header with 1 to 128 characters "
        "from A-Z a-z 0-9 _ . : / + = @ -, and any other value is replaced.",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda app: _serving(served, settings, metrics),
    )
    # The middleware checks the key; this describes it to the tools that read OpenAPI.
    key_security = [] if settings.api_key is None else [Security(HTTPBearer(auto_error=False, scheme_name="ApiKey"))]
    app.include_router(make_search_routes(searcher), dependencies=key_security)
    app.include_router(make_monitoring_routes(served, metrics, key_security))
    _add_pages(app)
    handle_errors(app)
    # The last one that is added is the first that a request passes through.
    app.add_middleware(BodyLimit)
    app.add_middleware(HeadRequests)
    if settings.api_key is not None:
        app.add_middleware(ApiKey, key=settings.api_key, is_open=_is_open)
    app.add_middleware(UnexpectedErrors)
    if settings.cors:  # outside of what answers with errors, so that pages of these origins can read these answers too
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app.add_middleware(Recorder, metrics=metrics, routes=_ROUTES, access_log=settings.access_log)
    return app


@asynccontextmanager
async def _serving(served: ServedRetriever, settings: ServiceSettings, metrics: Metrics) -> AsyncIterator[None]:
    """Search once before the first request, and watch the retriever's folder while the service runs."""

    def note_reload(documents: int | None) -> None:
        metrics.count_reload(documents is not None)
        if documents is not None:
            metrics.set_documents(documents)

    metrics.set_documents(len(served.current.table))
    watcher = FolderWatcher(served, note_reload)
    if settings.watch:
        await asyncio.to_thread(watcher.poll)  # a worker that replaces another one may start long after loading
    await asyncio.to_thread(served.make_ready)
    if settings.watch:
        watcher.start()
    yield
    if settings.watch:
        watcher.stop()


def _is_open(path: str) -> bool:
    """Whether a path needs no API key: the checks of load balancers, and pages, which hold no data."""
    return path in _OPEN or path.startswith("/page/")


def _add_pages(app: FastAPI) -> None:
    """Add /docs and, if the package has one, the search page."""

    @app.get("/docs", include_in_schema=False)
    async def show_docs() -> HTMLResponse:
        return HTMLResponse(render_docs(app.openapi()))

    if PAGE.is_dir():
        app.mount("/page", StaticFiles(directory=PAGE))

        @app.get("/", include_in_schema=False)
        async def show_page() -> FileResponse:
            return FileResponse(PAGE / "index.html")

"""serve: an HTTP service that searches with a trained retriever."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import asyncio
import concurrent.futures
import contextlib
import functools
import resource
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Annotated, Any

import typer

from genir.decoding.deadline import Deadline
from genir.errors import GenirError, SearchTimeout
from genir.pipeline.command import run_command
from genir.processes import require_single_process
from genir.records import Hits
from genir.retriever import Retriever

_THREADS = {"fast": 4, "exact": 2}
"""Searches that run at once. Exact ones have threads of their own, since they may take a thousand times as long."""
_MAX_PENDING = 32
"""Searches of each kind that run or wait; further ones are refused."""
_MAX_CONNECTIONS = 512
_REQUEST_SECONDS = 10
_SHUTDOWN_SECONDS = 3
"""Time in which searches may finish after SIGTERM or Ctrl-C, before they are cancelled."""


class TooManySearches(GenirError):
    """As many searches as are allowed are running or waiting already, or the service is about to end."""


class SearchQueue:
    """Runs searches in threads, each with a deadline, so that no search keeps the event loop from other requests.

    timeout: seconds after which a search gives up, including the time that it waits.
    """

    def __init__(self, retriever: Retriever, timeout: float) -> None:
        Deadline(timeout)  # refuses a wrong number now, and not in each search
        self._retriever = retriever
        self._timeout = timeout
        self._threads = {kind: ThreadPoolExecutor(count) for kind, count in _THREADS.items()}
        self._pending = Counter[str]()

    async def search(self, request: Any, query: str, k: int, exact: bool) -> Hits:
        """Search with `Retriever.search`; the search is cancelled when the client of the request disconnects.

        Raises TooManySearches if too many searches are pending, SearchTimeout at the deadline, and any other GenirError
        of the retriever.
        """
        deadline, kind = Deadline(self._timeout), "exact" if exact else "fast"
        if self._pending[kind] >= _MAX_PENDING:
            raise TooManySearches(f"{_MAX_PENDING} searches are running or waiting already; try again later")
        self._pending[kind] += 1
        search = functools.partial(self._retriever.search, query, k, exact=exact, timeout=deadline)
        submitted, loop = self._threads[kind].submit(search), asyncio.get_running_loop()

        def free_place(search: concurrent.futures.Future[Hits]) -> None:
            with contextlib.suppress(RuntimeError):  # the event loop has ended
                loop.call_soon_threadsafe(self._pending.subtract, [kind])

        submitted.add_done_callback(free_place)  # a search that is cancelled has its thread until it stops
        running = asyncio.wrap_future(submitted)
        watching = asyncio.ensure_future(_cancel_on_disconnect(request, deadline, running))
        try:
            return await running
        except asyncio.CancelledError:  # the service ends; a client that has disconnected gets no answer
            raise TooManySearches("the service is shutting down") from None
        finally:
            deadline.cancel()
            watching.cancel()


async def _cancel_on_disconnect(request: Any, deadline: Deadline, search: asyncio.Future[Hits]) -> None:
    """Cancel a search, whether it runs or waits, when the client of its request disconnects."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    deadline.cancel()
    search.cancel()


def create_app(retriever: Retriever, timeout: float = 30) -> Any:
    """Create a FastAPI application that answers GET /search?query=...&k=10, GET /health and GET /docs.

    Parameters that are out of range, and queries that the retriever rejects, are answered with status 422; searches
    that take longer than `timeout` seconds with 504; and searches beyond those that may wait with 503.
    """
    from fastapi import FastAPI, HTTPException, Query, Request

    app = FastAPI(title="genir", description="Generative retrieval")
    searches = SearchQueue(retriever, timeout)

    @app.get("/search")
    async def search(
        request: Request,
        query: Annotated[str, Query(min_length=1, max_length=10_000)],
        k: Annotated[int, Query(ge=1, le=1000)] = 10,
        exact: bool = False,
    ) -> dict[str, Any]:
        """The k best documents for the query, and whether they are proven to be the model's best (`exact`).

        With exact=true, the search continues until they are proven, or until it takes too long.
        """
        try:
            hits = await searches.search(request, query, k, exact)
        except TooManySearches as error:
            raise HTTPException(503, str(error), {"Retry-After": "1"}) from None
        except SearchTimeout as error:
            raise HTTPException(504, str(error)) from None
        except GenirError as error:
            raise HTTPException(422, str(error)) from None
        return {"query": query, "exact": hits.exact, "hits": [hit._asdict() for hit in hits]}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Report that the service is running, and how many documents it searches."""
        return {"documents": len(retriever.table)}

    return app


def make_protocol(max_connections: int, request_seconds: float = _REQUEST_SECONDS) -> type[asyncio.Protocol]:
    """Create uvicorn's protocol class for HTTP with a limit on the number of connections, and one on slow clients.

    request_seconds: time in which a client must have sent its request.
    """
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class LimitedProtocol(H11Protocol):
        """A connection that is closed if its client is slow to send a request.

        If there are too many connections, the one that has waited for a request for the longest time is closed.
        """

        timer: asyncio.TimerHandle | None = None

        @property
        def is_waiting(self) -> bool:
            """Whether no request is being answered."""
            return self.cycle is None or self.cycle.response_complete

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self.set_timer()
            if len(self.connections) > max_connections:
                timers = {x.timer.when(): x for x in self.connections if isinstance(x, LimitedProtocol) and x.timer}
                timers[min(timers)].close_now()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            self.set_timer()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.stop_timer()

        def set_timer(self) -> None:
            """Start the timer if the connection waits for a request, unless it is running already; else stop it."""
            if not self.is_waiting:
                self.stop_timer()
            elif self.timer is None:
                self.timer = self.loop.call_later(request_seconds, self.close_now)

        def close_now(self) -> None:
            self.stop_timer()  # at once, so that another connection is closed for the next one that is made
            self.transport.abort()

        def stop_timer(self) -> None:
            if self.timer is not None:
                self.timer.cancel()
                self.timer = None

    return LimitedProtocol


def make_server_config(retriever: Retriever, host: str, port: int, timeout: float) -> Any:
    """Create the configuration of uvicorn for a service that slow clients and long searches cannot stop."""
    import uvicorn

    max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # asyncio logs an error for each connection beyond it
    max_connections = _MAX_CONNECTIONS if max_files < 0 else min(_MAX_CONNECTIONS, max_files // 4)
    return uvicorn.Config(
        create_app(retriever, timeout),
        host=host,
        port=port,
        http=make_protocol(max_connections),
        ws="none",
        backlog=max(1, max_connections),
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
    )


def command(
    folder: Annotated[str, typer.Argument(metavar="RUN", help="A run folder or a retriever folder.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 means any free one.", min=0, max=65535)] = 8000,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time after which a search gives up.", min=0.001)
    ] = 30,
) -> None:
    """Serve a trained retriever over HTTP; GET /search?query=...&k=10 answers with JSON.

    GET /docs shows interactive documentation, and GET /health reports that the service is running.
    """
    require_single_process()
    try:
        import fastapi  # noqa: F401 (create_app needs it)
        import uvicorn
    except ImportError:
        raise GenirError("serve needs fastapi and uvicorn; install them: pip install genir[serve]") from None
    retriever = Retriever.from_pretrained(folder)
    retriever.search("the first search loads what is loaded on first use, and fails now if that is missing", 1)
    uvicorn.Server(make_server_config(retriever, host, port, timeout)).run()


if __name__ == "__main__":
    run_command(command, "serve")

"""Searches of many clients at once: which run together, which run beside others, and when they end."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, NamedTuple, TypeVar

from fastapi import Request

from genir.decoding.deadline import Deadline
from genir.errors import SearchTimeout
from genir.records import Hits
from genir.retriever import Retriever
from genir.serving.batching import BatchDeadline, BatchQueue, Done
from genir.serving.errors import ClientDisconnected, ShuttingDown
from genir.serving.limits import MAX_BEAMS, choose_beams
from genir.serving.metrics import Metrics
from genir.serving.reloading import ServedRetriever
from genir.serving.settings import ServiceSettings

Result = TypeVar("Result")

_FAST_BEAMS = 60
"""Searches with more beams take long, and are searched in the threads of long searches."""
_LONG_THREADS = 2


class SearchOptions(NamedTuple):
    """What queries must have in common to be searched together; see `genir.retriever.Retriever.search_many`.

    Not even k may differ, because the default of beams depends on it, and results depend on the beams.
    """

    k: int
    beams: int
    exact: bool
    allowed: tuple[str, ...] | None

    @classmethod
    def of(cls, k: int, beams: int | None, exact: bool, allowed: list[str] | None) -> "SearchOptions":
        """The options of a request, in the same form whenever they mean the same."""
        documents = None if allowed is None else tuple(sorted({*allowed}))
        return cls(k, choose_beams(k, beams, MAX_BEAMS), exact, documents)


class SearchItem(NamedTuple):
    """One query that is to be searched."""

    retriever: Retriever
    query: str
    options: SearchOptions
    deadline: Deadline


class Searcher:
    """Searches for many clients at once, each of whom has a deadline, without keeping the event loop from others.

    Queries that arrive together are searched together (fast). Exact searches, those with many beams and those of many
    queries may take a thousand times as long, and have threads of their own (long); and so have the functions that
    score given documents (scores).

    Raises GenirError if the timeout is not a positive number.
    """

    def __init__(self, served: ServedRetriever, settings: ServiceSettings, metrics: Metrics) -> None:
        Deadline(settings.timeout)  # refuses a wrong number now, and not in each search
        self._served, self._metrics = served, metrics
        self._timeout, self._max_batch = settings.timeout, settings.max_batch
        wait = settings.max_wait_ms / 1000
        self._fast, self._long = (
            BatchQueue[SearchItem, Hits](
                search_together,
                threads,
                settings.max_batch,
                wait,
                settings.max_queue,
                partial(metrics.set_queue_length, name),
                metrics.count_batch,
            )
            for name, threads in (("fast", 1), ("long", _LONG_THREADS))
        )
        self._scores = BatchQueue[Callable[[], Any], Any](
            _call_all, 1, 1, 0, settings.max_queue, partial(metrics.set_queue_length, "scores")
        )

    async def search(
        self, request: Request, queries: list[str], options: SearchOptions, timeout_ms: float | None = None
    ) -> list[Done[Hits]]:
        """Search the queries of a request, all of them with the same retriever.

        Raises SearchTimeout at the deadline, Overloaded if too many queries wait, ClientDisconnected, ShuttingDown, and
        any other GenirError of the retriever.
        """
        retriever = self._served.current
        for doc_id in options.allowed or ():
            retriever.table.doc_index(doc_id)
        is_long = options.exact or options.beams > _FAST_BEAMS or len(queries) > self._max_batch
        queue = self._long if is_long else self._fast
        key = None if options.exact else (id(retriever), options)

        def start(deadline: Deadline) -> Awaitable[list[Done[Hits]]]:
            return queue.run([SearchItem(retriever, query, options, deadline) for query in queries], key)

        found = await self._finish(request, timeout_ms, start)
        for done in found:
            self._metrics.count_search(done.result, options.beams)
        return found

    async def call(
        self, request: Request, function: Callable[[Retriever, Deadline], Result], timeout_ms: float | None = None
    ) -> Done[Result]:
        """Call a function of the retriever, such as one that ranks given documents; raises the errors of `search`.

        The function gets the deadline, at which it must stop, and which is cancelled when the client disconnects.
        """
        retriever = self._served.current

        def start(deadline: Deadline) -> Awaitable[list[Done[Result]]]:
            def call() -> Result:
                deadline.check()  # it may have waited for long
                return function(retriever, deadline)

            return self._scores.run([call], None)

        return (await self._finish(request, timeout_ms, start))[0]

    async def _finish(
        self, request: Request, timeout_ms: float | None, start: Callable[[Deadline], Awaitable[Result]]
    ) -> Result:
        """Await what a function starts, until the deadline, the client's disconnection or the end of the service."""
        seconds = self._timeout if timeout_ms is None else min(self._timeout, timeout_ms / 1000)
        deadline = Deadline(seconds)
        running = asyncio.ensure_future(start(deadline))
        watching = asyncio.ensure_future(_wait_for_disconnect(request))
        try:
            done, _ = await asyncio.wait({running, watching}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if running in done:
                return running.result()
            if watching in done:
                raise ClientDisconnected("the client has disconnected")
            raise deadline.make_error()
        except SearchTimeout:  # the thread of a batch may raise that of another client
            raise deadline.make_error() from None
        except asyncio.CancelledError:
            raise ShuttingDown("the service is shutting down") from None
        finally:
            deadline.cancel()
            running.cancel()
            watching.cancel()


def search_together(items: list[SearchItem]) -> list[Hits | Exception]:
    """Search queries that have the same retriever and options. If one fails, only its client gets the error."""
    retriever, _, options, _ = items[0]
    try:
        found = retriever.search_many(
            [item.query for item in items],
            options.k,
            options.beams,
            options.allowed,
            batch_size=len(items),
            exact=options.exact,
            timeout=BatchDeadline([item.deadline for item in items]),
        )
        return [*found]
    except Exception as error:
        if len(items) == 1 or isinstance(error, SearchTimeout):
            return [error] * len(items)
    return [result for item in items for result in search_together([item])]


def _call_all(functions: list[Callable[[], Any]]) -> list[Any]:
    return [function() for function in functions]


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass

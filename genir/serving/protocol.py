"""HTTP connections with limits on their number and on the time that clients take, so that slow clients stop nobody."""

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_SECONDS = 10
"""Time in which a client must have sent its request, and in which it must read more of its answer."""


class LimitedProtocol(H11Protocol):
    """A connection that is closed if its client is slow to send a request or to read an answer.

    If there are too many connections, the one that has waited for its client for the longest time is closed.
    """

    max_connections: int
    request_seconds: float
    timer: asyncio.TimerHandle | None = None
    is_paused = False
    """Whether the client reads so slowly that the answer waits in this process."""

    @property
    def is_waiting(self) -> bool:
        """Whether the client has yet to send something, or to read its answer."""
        cycle = self.cycle
        return cycle is None or cycle.response_complete or cycle.more_body or self.is_paused

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.set_timer()
        if len(self.connections) > self.max_connections:
            timers = {x.timer.when(): x for x in self.connections if isinstance(x, LimitedProtocol) and x.timer}
            timers[min(timers)].close_now()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.set_timer()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.set_timer()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.is_paused = True
        self.set_timer()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.is_paused = False
        self.set_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.stop_timer()

    def set_timer(self) -> None:
        """Start the timer if the connection waits for its client, unless it is running already; else stop it."""
        if not self.is_waiting:
            self.stop_timer()
        elif self.timer is None:
            self.timer = self.loop.call_later(self.request_seconds, self.close_now)

    def close_now(self) -> None:
        """Close the connection, whatever is still to be sent."""
        self.stop_timer()  # at once, so that another connection is closed for the next one that is made
        self.transport.abort()

    def stop_timer(self) -> None:
        """Stop the timer if it is running."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


def make_protocol(max_connections: int, request_seconds: float = REQUEST_SECONDS) -> type[asyncio.Protocol]:
    """Create uvicorn's protocol class for HTTP with a limit on the number of connections, and one on slow clients."""
    limits = {"max_connections": max_connections, "request_seconds": request_seconds}
    return type("ConnectionWithLimits", (LimitedProtocol,), limits)

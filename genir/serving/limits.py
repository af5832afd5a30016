"""What a request may ask for at most, and the largest body that is read."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.decoding.index import default_beams
from genir.serving.errors import make_error_response

MAX_K = 1000
MAX_BEAMS = 1000
MAX_QUERIES = 100
MAX_HITS = 10_000
"""Hits of all queries of a request: an answer has at most about 2 MB."""
MAX_RANKED = 1000
"""Documents that one request ranks."""
MAX_EXPLAINED = 100
"""Hits, and beams, of a search that is explained: a larger tree is not readable."""
MAX_QUERY_LENGTH = 10_000
"""Characters of a query."""
MAX_BODY_BYTES = 1_000_000


def choose_beams(k: int, beams: int | None, most: int) -> int:
    """The beam size of a request: `beams`, or else the default for k documents, limited to `most` but not below k."""
    return beams if beams is not None else max(k, min(default_beams(k), most))


class BodyLimit:
    """ASGI middleware that answers a request whose body is too large with 413.

    Up to ten times the limit is read and discarded, because most clients read no answer before they have sent all; then
    the connection is closed.
    """

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on unless its body is announced to be too large; count the bytes that are received."""
        message = f"the body of a request may have at most {self._max_bytes:,} bytes"
        headers = dict(scope.get("headers", ()))
        if int(headers.get(b"content-length", b"0")) > self._max_bytes:  # uvicorn accepts only digits
            if b"expect" not in headers:  # such a client sends the body only when it is asked for it
                await self._discard(receive)
            await make_error_response(scope, 413, message)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            part = await receive()
            received += len(part.get("body", b""))
            if received > self._max_bytes:
                if part.get("more_body"):
                    await self._discard(receive)
                raise HTTPException(413, message)
            return part

        await self._app(scope, receive_limited, send)

    async def _discard(self, receive: Receive) -> None:
        """Receive the rest of a body, unless it is much too large."""
        received = 0
        while received < 10 * self._max_bytes:
            part = await receive()
            received += len(part.get("body", b""))
            if not part.get("more_body"):
                return

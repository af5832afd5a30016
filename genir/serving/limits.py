"""What a request may ask for at most, and the largest body that is read."""

from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


class BodyLimit:
    """ASGI middleware that answers a request whose body is too large with 413, without reading the rest of it."""

    def __init__(self, app: ASGIApp, max_bytes: int = MAX_BODY_BYTES) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on unless its body is announced to be too large; count the bytes that are received."""
        message = f"the body of a request may have at most {self._max_bytes:,} bytes"
        announced = dict(scope.get("headers", ())).get(b"content-length", b"0")  # uvicorn accepts only digits
        if int(announced) > self._max_bytes:
            await make_error_response(scope, 413, message)(scope, receive, send)
            return
        received = 0

        async def receive_limited() -> Message:
            nonlocal received
            part = await receive()
            received += len(part.get("body", b""))
            if received > self._max_bytes:
                raise HTTPException(413, message)
            return part

        await self._app(scope, receive_limited, send)

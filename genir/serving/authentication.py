"""The API key that clients must send."""

import hmac
from collections.abc import Callable

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from genir.serving.errors import make_error_response


class ApiKey:
    """ASGI middleware that answers 401 unless a request has the header `Authorization: Bearer KEY`.

    is_open: tells whether a path needs no key.
    """

    def __init__(self, app: ASGIApp, key: str, is_open: Callable[[str], bool]) -> None:
        self._app, self._expected, self._is_open = app, key.encode(), is_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on if it has the key or needs none; the keys are compared in constant time."""
        if scope["type"] == "http" and not self._is_open(scope["path"]):
            scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
            is_right = hmac.compare_digest(given.strip().encode("latin-1"), self._expected)
            if scheme.lower() != "bearer" or not is_right:
                message = "send the API key in the header Authorization: Bearer KEY"
                await make_error_response(scope, 401, message)(scope, receive, send)
                return
        await self._app(scope, receive, send)

"""What is recorded about each request: its id, the metrics and a line in the access log."""

import json
import logging
import re
import secrets
import time
from collections.abc import Collection, MutableMapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.serving.metrics import Metrics

ACCESS_LOG = logging.getLogger("genir.access")
_VALID_ID = re.compile(r"[\w.:/+=@-]{1,128}", re.ASCII)
_METHODS = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"}


class Recorder:
    """ASGI middleware that gives each request an id, counts it and logs it.

    The id is that of the header X-Request-ID, if it has at most 128 characters from A-Z a-z 0-9 _ . : / + = @ -, or
    else a new one. routes: the paths that are counted under their own names; all others count as "other".
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: Collection[str], access_log: bool) -> None:
        self._app, self._metrics, self._routes, self._access_log = app, metrics, routes, access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and record its answer."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        request_id = given if _VALID_ID.fullmatch(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = request_id
        start, status = time.monotonic(), 499  # a client that disconnects may get no answer

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)["X-Request-ID"] = request_id
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            self._record(scope, status, time.monotonic() - start)

    def _record(self, scope: MutableMapping[str, Any], status: int, seconds: float) -> None:
        """Count a request, and log it as one line of JSON, in which control characters are escaped."""
        path, method = scope["path"], scope["method"]
        route = path if path in self._routes else "other"
        self._metrics.count_request(route, method if method in _METHODS else "other", status, seconds)
        if self._access_log:
            entry = {
                "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "request_id": scope["state"]["request_id"],
                "client": (scope.get("client") or ("",))[0],
                "method": method,
                "path": path,
                "query": scope.get("query_string", b"").decode("latin-1"),
                "status": status,
                "ms": round(seconds * 1000, 2),
            }
            ACCESS_LOG.info(json.dumps(entry).replace("\x7f", r"\u007f"))

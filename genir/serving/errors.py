"""The JSON answers to requests that fail: one sentence, the status and the request's id."""

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genir.errors import GenirError, SearchTimeout, make_printable
from genir.serving.batching import Overloaded
from genir.serving.validation import describe_mistake

_LOG = logging.getLogger("genir.serving")


class ErrorAnswer(BaseModel):
    """The answer to a request that fails."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"error": "k: must be at most 1,000, got 5000", "status": 422, "request_id": "4f9d2c1e"}]
        }
    )
    error: str = Field(description="What is wrong, in one sentence.")
    status: int = Field(description="The HTTP status.")
    request_id: str = Field(description="The id of the request, which is also in the access log.")


class ClientDisconnected(GenirError):
    """The client has closed the connection before its answer was ready."""


class ShuttingDown(GenirError):
    """The service ends, and this request has not finished in time."""


_STATUSES = {Overloaded: 503, ShuttingDown: 503, SearchTimeout: 504, ClientDisconnected: 499}
"""The status of each error; that of any other GenirError is 422. 499 is nginx's, for its log."""


def make_error_response(scope: Scope, status: int, message: str, retry_after: int = 1) -> JSONResponse:
    """Create the answer to a request that fails, with the headers that clients expect beside its status.

    retry_after: seconds after which a client that is answered with 503 should try again.
    """
    headers = {
        401: {"WWW-Authenticate": "Bearer"},
        413: {"Connection": "close"},
        503: {"Retry-After": str(retry_after)},
    }
    answer = ErrorAnswer(
        error=make_printable(message), status=status, request_id=scope.get("state", {}).get("request_id", "")
    )
    return JSONResponse(answer.model_dump(), status, headers.get(status))


def describe_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answers with these statuses for OpenAPI."""
    texts = {
        401: "The API key is missing or wrong.",
        413: "The body is too large.",
        422: "A parameter is wrong.",
        503: "Too many requests are waiting; try again after the time in the header Retry-After.",
        504: "The request took too long.",
    }
    return {status: {"model": ErrorAnswer, "description": texts[status]} for status in statuses}


def handle_errors(app: FastAPI) -> None:
    """Let an application answer all errors in the same form."""

    @app.exception_handler(GenirError)
    async def answer_genir_error(request: Request, error: GenirError) -> JSONResponse:
        status = next((code for kind, code in _STATUSES.items() if isinstance(error, kind)), 422)
        return make_error_response(request.scope, status, str(error), getattr(error, "retry_after", 1))

    @app.exception_handler(HTTPException)
    async def answer_http_error(request: Request, error: HTTPException) -> JSONResponse:
        answer = make_error_response(request.scope, error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["Allow"] = _list_methods(app, request.url.path, answer.headers["Allow"])
        return answer

    @app.exception_handler(RequestValidationError)
    async def answer_validation_error(request: Request, error: RequestValidationError) -> JSONResponse:
        return make_error_response(request.scope, 422, describe_mistake(error))


class UnexpectedErrors:
    """ASGI middleware that logs an unexpected error under the id of the request, and answers with 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; raise an error again if the answer has begun, so that the server ends the connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            _LOG.exception("request %s failed", scope.get("state", {}).get("request_id", ""))
            if has_begun:
                raise
            message = "the service has failed; its log has the cause under the id of this request"
            await make_error_response(scope, 500, message)(scope, receive, send)


def _list_methods(app: FastAPI, path: str, some: str) -> str:
    """The methods of a path, of which the router names only some; GET endpoints also answer HEAD."""
    methods = {*some.split(", "), *(name.upper() for name in app.openapi()["paths"].get(path, ()))}
    return ", ".join(sorted(methods | ({"HEAD"} if "GET" in methods else set())))

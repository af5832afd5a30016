"""How requests are read: JSON without ambiguities, each parameter once, and one sentence about the first mistake."""

import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from genir.errors import GenirError, quote, shorten
from genir.files import parse_strict_json

_LONGEST_VALUE = 40
"""Characters of a wrong value that a message quotes."""
_TYPES = {
    "string": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "list": "a list",
    "finite_number": "a finite number",
}
_LIMITS = {
    "greater_than_equal": "at least {ge:,}",
    "greater_than": "more than {gt:g}",
    "less_than_equal": "at most {le:,}",
}
_LENGTHS = {
    "string_too_long": "at most {max_length:,} characters",
    "too_long": "at most {max_length:,} items",
    "too_short": "at least {min_length:,} item",
}


class StrictRoute(APIRoute):
    """A route that refuses what would be read in a way that its client may not mean.

    These are parameters that are given twice, parameters in the address of a request that has them in its body, and
    JSON that Python's parser accepts although its meaning is uncertain.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the function that answers a request."""
        handle = super().get_route_handler()
        has_body = self.body_field is not None

        async def handle_strictly(request: Request) -> Response:
            names = Counter(name for name, _ in request.query_params.multi_items())
            if has_body and names:
                name = quote(next(iter(names)))
                raise GenirError(f"{name}: parameters of this request belong in its body, a JSON object")
            for name, times in names.items():
                if times > 1:
                    raise GenirError(f"{quote(name)}: given {times} times; give it once")
            return await handle(_StrictRequest(request.scope, request.receive))

        return handle_strictly


class _StrictRequest(Request):
    async def json(self) -> Any:
        """Parse the body; a mistake is answered with 422."""
        try:
            return parse_strict_json((await self.body()).decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise HTTPException(422, f"the body is not UTF-8 text: {error.reason} at byte {error.start}") from None
        except json.JSONDecodeError as error:
            message = f"the body is not valid JSON: {error.msg} at character {error.pos}"
            raise HTTPException(422, message) from None
        except ValueError as error:
            raise HTTPException(422, f"the body cannot be read: {error}") from None


def describe_mistake(error: RequestValidationError) -> str:
    """Describe the first mistake of a request in one sentence that names the parameter and what is allowed."""
    problem: Mapping[str, Any] = error.errors()[0]
    kind, place, context, value = problem["type"], problem["loc"][1:], problem.get("ctx", {}), problem["input"]
    if not place and kind in ("missing", "model_attributes_type"):
        return "send the parameters in the body as a JSON object, with the header Content-Type: application/json"
    if kind == "value_error":  # of genir.serving.schemas, which names the parameter
        return str(context["error"])
    name = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).removeprefix(".")
    if kind == "missing":
        return f"{name}: this parameter is missing"
    if kind == "string_unicode":
        return f"{name}: must be valid Unicode, without unpaired surrogates"
    if kind in _LENGTHS:
        return f"{name}: must have {_LENGTHS[kind].format(**context)}, got {len(value):,}"
    if kind in _LIMITS:
        return f"{name}: must be {_LIMITS[kind].format(**context)}, got {_quote(value)}"
    for prefix, meaning in _TYPES.items():
        if kind.startswith(prefix):
            return f"{name}: must be {meaning}, got {_quote(value)}"
    return f"{name}: {problem['msg']}"


def _quote(value: Any) -> str:
    """A value as JSON, cut if it is long."""
    return shorten(json.dumps(value, ensure_ascii=False, default=str), _LONGEST_VALUE)

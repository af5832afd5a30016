"""What callers hand over, checked."""

from collections.abc import Iterable
from operator import index
from typing import Any, TypeGuard

from genir.errors import GenirError


def require_texts(queries: Iterable[str]) -> list[str]:
    """Queries as a list. Raises GenirError for one that is no text, or empty, and for a single text."""
    found = require_list("queries", queries)
    for number, query in enumerate(found):
        if not isinstance(query, str):
            raise GenirError(f"query {number} must be a text, not {query!r}")
        if not query.strip():
            raise GenirError(f"query {number} is empty; a retriever needs at least one word")
        if not is_encodable(query):
            raise GenirError(f"query {number} is not valid UTF-8: {query!r}")
    return found


def require_list(name: str, values: Iterable[Any]) -> list[Any]:
    """Anything iterable as a list; a single text, whose letters would be taken one by one, raises GenirError."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GenirError(f"{name} must be several, such as a list, not {values!r}")
    return list(values)


def require_positive_int(name: str, value: Any) -> int:
    """A whole number, at least 1; anything else raises GenirError."""
    try:
        whole = int(index(value))
    except TypeError:
        whole = 0
    if whole < 1:
        raise GenirError(f"{name} must be a whole number, at least 1, not {value!r}")
    return whole


def is_encodable(text: str) -> bool:
    """Whether a text can be written as UTF-8; halves of surrogate pairs, as badly decoded input holds, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_valid_id(value: object) -> TypeGuard[str]:
    """Whether it can be a doc_id or query_id: tab-separated files hold them, and whitespace-separated ones (TREC)."""
    return isinstance(value, str) and bool(value) and not any(c.isspace() for c in value) and is_encodable(value)

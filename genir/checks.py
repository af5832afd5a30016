"""Argument validation, with errors that name the argument, and strict parsing of numbers and ids from text."""

import math
import re
import unicodedata
from collections.abc import Iterable
from operator import index
from typing import Any, TypeGuard

from genir.errors import GenirError, quote
from genir.records import Document


def require_texts(queries: Iterable[str]) -> list[str]:
    """Check queries and return them as a list.

    Raises GenirError for a single string instead of a list, and for a query that is not a string, is empty, or cannot
    be encoded as UTF-8; if there are several queries, the message gives the position of that one, counted from 0.
    """
    texts = require_list("queries", queries)
    for number, query in enumerate(texts):
        name = f"query {number}" if len(texts) > 1 else "the query"
        if not isinstance(query, str):
            raise GenirError(f"{name} must be a string, got {quote(query)}")
        if not query.strip():
            raise GenirError(f"{name} is empty; a retriever needs at least one word")
        if not is_encodable(query):
            raise GenirError(f"{name} is not valid UTF-8: {quote(query)}")
    return texts


def require_documents(documents: Iterable[Document]) -> list[Document]:
    """Check documents and return them as a list.

    Raises GenirError for a single document instead of a list, for an item that is not a `Document`, and for a title,
    text or url that is not a string or not valid as UTF-8. The ids are not checked.
    """
    if isinstance(documents, str | Document) or not isinstance(documents, Iterable):
        raise GenirError(f"documents must be a list of Document, got {documents!r}")
    found = list(documents)
    for document in found:
        if not isinstance(document, Document):
            raise GenirError(f"documents must be a list of Document, but one item is {document!r}")
        for name, value in document._asdict().items():
            if name != "id" and not isinstance(value, str):
                raise GenirError(f"the {name} of document {document.id!r} must be a string, got {value!r}")
            if name != "id" and not is_encodable(value):
                raise GenirError(f"the {name} of document {document.id!r} is not valid UTF-8: {value!r}")
    return found


def require_list(name: str, values: Iterable[Any]) -> list[Any]:
    """Return the items of an iterable of strings as a list; `name` is the name of the argument.

    Raises GenirError for a single string, whose characters would otherwise be taken as the items, and for a value that
    is not iterable. The items themselves are not checked.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise GenirError(f"{name} must be a list of strings, got {quote(values)}")
    return list(values)


def require_positive_int(name: str, value: Any) -> int:
    """Return an integer of any type, such as numpy's, as an int. Raises GenirError for anything else or below 1."""
    try:
        whole = int(index(value))
    except TypeError:
        whole = 0
    if whole < 1:
        raise GenirError(f"{name} must be an integer of at least 1, got {value!r}")
    return whole


def parse_int(text: str) -> int:
    """Parse a decimal integer. Raises ValueError for the other forms that Python's int accepts.

    These are underscores as in 1_000, white space, and the digits of other scripts.
    """
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(f"{text!r} is not a whole number in the digits 0 to 9")
    return int(text)


def parse_float(text: str) -> float:
    """Parse a finite decimal number. Raises ValueError for the other forms that Python's float accepts.

    These are nan, inf, underscores as in 1_000, white space, and the digits of other scripts.
    """
    if not re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", text):
        raise ValueError(f"{text!r} is not a number in the digits 0 to 9")
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is too large")
    return value


def is_encodable(text: str) -> bool:
    """Whether a string can be encoded as UTF-8; unpaired surrogates, which badly decoded input contains, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def is_valid_id(value: object) -> TypeGuard[str]:
    """Whether a value can be a doc_id or query_id: a non-empty string that is valid as UTF-8.

    White space is excluded because ids are fields of tab-separated files and of TREC's space-separated ones; control
    characters, because trec_eval's C strings end at NUL; a byte order mark, because readers drop it at the start of a
    file.
    """
    return isinstance(value, str) and bool(value) and not any(map(_is_forbidden_in_ids, value)) and is_encodable(value)


def _is_forbidden_in_ids(character: str) -> bool:
    return character.isspace() or character == "\ufeff" or unicodedata.category(character) == "Cc"

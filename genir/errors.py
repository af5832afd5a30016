"""The exceptions that genir raises: for mistakes which a user can correct, and for searches that take too long.

Messages must show quoted text literally and in one line. The functions for this, `make_printable` and `quote`, are in
this module, below all others.
"""

import re
from pathlib import Path

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""C0 and C1 control characters, line and paragraph separators, characters that override the writing direction, and
unpaired surrogates, which cannot be printed at all.
"""
LONGEST_QUOTE = 100
"""Characters of a query, or of another text of a user, that are shown where it is only named."""


def make_printable(text: str, keep: str = "") -> str:
    """Escape the characters of a text that a terminal would not show but obey, such as ESC, which begins colour codes.

    keep: characters that are not escaped.
    """
    return _CONTROL.sub(lambda found: found[0] if found[0] in keep else repr(found[0])[1:-1], text)


def shorten(text: str, longest: int) -> str:
    """Cut a text of more than `longest` characters, and mark that it is cut."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def quote(text: object) -> str:
    """A text, such as a query, in quotes and in one line; what is longer than LONGEST_QUOTE characters is cut."""
    return repr(shorten(text, LONGEST_QUOTE)) if isinstance(text, str) else shorten(repr(text), LONGEST_QUOTE)


class GenirError(Exception):
    """A mistake in the input or the settings; its message says what is wrong, where, and what to do.

    It is one line, except that several mistakes in a config are listed one per line. The command line prints the
    message without a traceback and exits with status 1. Control characters in the message are escaped.
    """

    def __init__(self, message: str) -> None:
        super().__init__(make_printable(message, keep="\n"))


class SearchTimeout(GenirError, TimeoutError):
    """A search that did not finish before its deadline, or that another thread has cancelled."""


def error_at(path: Path | str, line: int, message: str) -> GenirError:
    """Create the error for line `line` (counted from 1) of the file `path`; the caller raises it."""
    return GenirError(f"{path}:{line}: {message}")

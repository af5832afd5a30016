"""The exception that genir raises for mistakes which a user can correct."""

from pathlib import Path


class GenirError(Exception):
    """A mistake in the input or the settings; its message says what is wrong, where, and what to do.

    It is one line, except that several mistakes in a config are listed one per line. The command line prints the
    message without a traceback and exits with status 1.
    """


def error_at(path: Path | str, line: int, message: str) -> GenirError:
    """Create the error for line `line` (counted from 1) of the file `path`; the caller raises it."""
    return GenirError(f"{path}:{line}: {message}")

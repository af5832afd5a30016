"""The one exception that a user is meant to read."""

from pathlib import Path


class GenirError(Exception):
    """A mistake in the input or the settings: one line that says what is wrong, where, and what to do.

    The command line prints it without a traceback and exits with status 1.
    """


def error_at(path: Path | str, line: int, message: str) -> GenirError:
    """An error in line `line` (counted from 1) of the file `path`."""
    return GenirError(f"{path}:{line}: {message}")

"""The deadline of a search or a ranking, after which it gives up; another thread can bring it forward to now."""

import math
import time
from typing import Union

from genir.errors import GenirError, SearchTimeout

MAX_SECONDS = 1e9
"""Longer times, such as infinity, mean this one, which is thirty years."""


class Deadline:
    """The time at which a search or a ranking gives up, some seconds from now; without seconds, only `cancel` ends it.

    Pass it to `search` or `rank` as the timeout, and call `cancel` from another thread, or from a signal handler.

    Raises GenirError unless `seconds` is a positive number.
    """

    def __init__(self, seconds: float = math.inf) -> None:
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
            raise GenirError(f"timeout must be a positive number of seconds, got {seconds!r}")
        self._seconds = min(seconds, MAX_SECONDS)
        self._end = time.monotonic() + self._seconds
        self._is_cancelled = False  # not a threading.Event, whose lock a signal handler might wait for

    @classmethod
    def of(cls, timeout: Union[float, "Deadline", None]) -> "Deadline":
        """The deadline that a `timeout` means: some seconds from now, one that exists, or none."""
        if isinstance(timeout, Deadline):
            return timeout
        return cls() if timeout is None else cls(timeout)

    def cancel(self) -> None:
        """End what has this deadline: it raises SearchTimeout before its next decoder pass."""
        self._is_cancelled = True

    def check(self) -> None:
        """Raise SearchTimeout if the deadline has passed or was cancelled."""
        if self._is_cancelled:
            raise SearchTimeout("cancelled before it was finished")
        if time.monotonic() >= self._end:
            raise self.make_error()

    def make_error(self) -> SearchTimeout:
        """Create the error that says after how many seconds the deadline has passed, and what to do."""
        return SearchTimeout(
            f"stopped after {self._seconds:g} s; allow more time, or ask for less: fewer beams or documents, or no "
            "exact search"
        )

"""Whether the Hugging Face hub answers, what its errors mean, and reading data sets without it."""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TIMEOUT = 10
"""Seconds in which the hub must answer the first question."""
_REPEATABLE = (408, 429)
"""Answers below 500 that say nothing about what was asked for: the request took too long, or there were too many."""

_lock = threading.Lock()
_blocks = 0
"""How many blocks of `reading_cache_only` run now, in all threads."""
_before: list[tuple[Any, bool]] = []
"""The settings that the first of these blocks changed, and their values before it."""


def find_hub_problem(ask: Callable[[], object]) -> str:
    """Ask the hub something, and return why it cannot be used now, or an empty text if it can.

    ask: sends one request, with the timeout TIMEOUT. Raises the error with which the hub answers, such as
    huggingface_hub.errors.RepositoryNotFoundError, and HFValidationError for what cannot be a name on the hub.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        ask()
    except HFValidationError:
        raise
    except Exception as error:  # the libraries for HTTP raise a dozen unrelated types
        status = error.response.status_code if isinstance(error, HfHubHTTPError) else 500
        if status < 500 and status not in _REPEATABLE:
            raise
        return next(iter(str(error).strip().splitlines()), type(error).__name__)
    return ""


def explain_hub_error(error: Exception) -> str:
    """Say in one line why a call of the hub has failed."""
    from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, RevisionNotFoundError):
        return "there is no such revision"
    if isinstance(error, RepositoryNotFoundError):
        return "there is no such repository, or a private one; `hf auth login` gives access to yours"
    message = next(iter(str(error).strip().splitlines()), type(error).__name__)
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        message += "; log in with `hf auth login`, or give a token that has access"
    return message


@contextmanager
def reading_cache_only() -> Iterator[None]:
    """Let the library datasets read only its cache in the `with` block.

    It would otherwise try to reach the hub for half a minute, and print that. The setting is that of the whole process:
    blocks of several threads may overlap, and the last one that ends restores it.
    """
    from huggingface_hub import constants

    global _blocks
    with _lock:
        _blocks += 1
        if _blocks == 1:
            modules = [constants, *(sys.modules[name] for name in ("datasets.config",) if name in sys.modules)]
            _before[:] = [(module, module.HF_HUB_OFFLINE) for module in modules]
            for module, _ in _before:
                module.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                for module, value in _before:
                    module.HF_HUB_OFFLINE = value

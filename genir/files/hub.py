"""Reading from the Hugging Face hub, or at once from the caches of its libraries if it does not answer."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

TIMEOUT = 10
"""Seconds in which the hub must answer the first question."""


@contextmanager
def cache_unless(ask: Callable[[], object]) -> Iterator[str]:
    """Ask the hub something; if it does not answer, let its libraries read only their caches in the `with` block.

    They would otherwise try again for half a minute, and print that. ask: sends one request, with the timeout TIMEOUT.
    Yields why the hub cannot be reached, or an empty text. Raises the error with which the hub answers, such as
    huggingface_hub.errors.RepositoryNotFoundError.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError

    try:
        ask()
    except Exception as error:  # the libraries for HTTP raise a dozen unrelated types
        if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
            raise
        problem = next(iter(str(error).strip().splitlines()), type(error).__name__)
    else:
        yield ""
        return
    configs: list[Any] = [constants, *(sys.modules[name] for name in ("datasets.config",) if name in sys.modules)]
    before = [config.HF_HUB_OFFLINE for config in configs]
    for config in configs:
        config.HF_HUB_OFFLINE = True
    try:
        yield problem
    finally:
        for config, value in zip(configs, before, strict=True):
            config.HF_HUB_OFFLINE = value

"""The settings of the HTTP service."""

from typing import NamedTuple


class ServiceSettings(NamedTuple):
    """The settings of the HTTP service; `genir serve --help` shows them as options.

    timeout: seconds after which a search gives up, including the time that it waits. max_batch: the most queries that
    are searched together. max_wait_ms: how long a batch waits for more queries while others arrive at the same time.
    max_queue: how many queries may wait in each queue. grace: seconds in which requests may finish after SIGTERM.
    watch: whether a retriever folder that changes is loaded again. access_log: whether each request is logged. api_key:
    what clients must send; None means that they need no key. cors: the origins of pages that may send requests.
    """

    timeout: float = 30
    max_batch: int = 16
    max_wait_ms: float = 5
    max_queue: int = 128
    grace: int = 10
    watch: bool = True
    access_log: bool = False
    api_key: str | None = None
    cors: tuple[str, ...] = ()

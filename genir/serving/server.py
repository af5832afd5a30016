"""The server: uvicorn with limits for slow clients, and with an orderly end."""

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

from genir.serving.logs import make_log_config
from genir.serving.protocol import make_protocol
from genir.serving.settings import ServiceSettings

_MAX_CONNECTIONS = 512


def make_server_config(app: Any, host: str, port: int, settings: ServiceSettings) -> uvicorn.Config:
    """Create the configuration of uvicorn for a service that slow clients and long searches cannot stop."""
    max_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]  # asyncio logs an error for each connection beyond it
    max_connections = _MAX_CONNECTIONS if max_files < 0 else min(_MAX_CONNECTIONS, max_files // 4)
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=make_protocol(max_connections),
        ws="none",
        backlog=max(1, max_connections),
        timeout_graceful_shutdown=settings.grace,
        log_config=make_log_config(settings.access_log),
        access_log=False,  # uvicorn's own; see `genir.serving.recording`
    )


class Server(uvicorn.Server):
    """A server that ends in an orderly way after SIGTERM and Ctrl-C, so that the process exits with status 0."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let signals end the server; uvicorn would raise them again at the end, as if they had ended the process."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [x for x in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(x) is not signal.SIG_IGN]
        handlers = {number: signal.signal(number, self.handle_exit) for number in numbers}
        try:
            yield
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)

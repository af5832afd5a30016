"""serve: an HTTP service that searches with a trained retriever."""

if __name__ == "__main__":  # before the imports below, which take seconds
    from genir.pipeline.interrupts import handle_signals

    handle_signals()

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import typer

from genir.errors import GenirError
from genir.pipeline.command import run_command
from genir.processes import require_single_process


def command(
    folder: Annotated[
        str, typer.Argument(metavar="RUN", help="A run folder, a retriever folder or a name on the Hugging Face hub.")
    ],
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 means all networks.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0 means any free one.", min=0, max=65535)] = 8000,
    workers: Annotated[int, typer.Option(help="Processes that answer; they share the retriever's memory.", min=1)] = 1,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Time after which a search gives up.", min=0.001)
    ] = 30,
    max_batch: Annotated[int, typer.Option(help="Queries that are searched together at most.", min=1)] = 16,
    max_wait_ms: Annotated[
        float, typer.Option(help="Time that a batch waits for more queries while others arrive.", min=0)
    ] = 5,
    max_queue: Annotated[
        int, typer.Option(help="Queries that may wait in each queue; more are refused (503).", min=100)
    ] = 128,
    grace: Annotated[
        int, typer.Option(metavar="SECONDS", help="Time in which requests may finish after SIGTERM.", min=0)
    ] = 10,
    watch: Annotated[bool, typer.Option(help="Load the retriever again when its folder changes.")] = True,
    access_log: Annotated[bool, typer.Option("--access-log", help="Log each request to stdout, as JSON.")] = False,
    api_key: Annotated[
        str | None, typer.Option(envvar="GENIR_API_KEY", help="Key that clients must send.", show_default=False)
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin of pages that may send requests; can be repeated."),
    ] = None,
) -> None:
    """Serve a trained retriever over HTTP; GET /search?query=...&k=10 answers with JSON.

    GET /docs describes all requests, /metrics is for Prometheus, and /ready tells load balancers to send requests.
    SIGTERM and Ctrl-C let requests finish, and the exit status is 0.
    """
    require_single_process()
    if api_key is None and os.environ.get("GENIR_API_KEY") == "":  # typer takes an empty variable for none
        raise GenirError("GENIR_API_KEY is empty: set it to a key, or unset it for a service without a key")
    if api_key is not None and not re.fullmatch("[!-~]+", api_key):
        raise GenirError("--api-key: must consist of ASCII characters without spaces, since it is sent in a header")
    given = (timeout, max_batch, max_wait_ms, max_queue, grace, watch, access_log, api_key, tuple(cors or ()))
    with share_metrics() if workers > 1 else nullcontext():
        try:
            from genir.serving.running import run_service
            from genir.serving.settings import ServiceSettings
        except ImportError as error:
            raise GenirError(f"serve needs {error.name}; install it: pip install genir[serve]") from None
        run_service(folder, host, port, workers, ServiceSettings(*given))


@contextmanager
def share_metrics() -> Iterator[None]:
    """Let several processes share their metrics in a temporary folder: prometheus_client reads this when imported."""
    with tempfile.TemporaryDirectory(prefix="genir-metrics-") as folder:
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        try:
            yield
        finally:
            del os.environ["PROMETHEUS_MULTIPROC_DIR"]


if __name__ == "__main__":
    run_command(command, "serve")

"""Running the service in this process, or in several."""

import socket

from prometheus_client import multiprocess

from genir.errors import GenirError
from genir.serving.app import create_app
from genir.serving.reloading import ServedRetriever
from genir.serving.server import Server, make_server_config
from genir.serving.settings import ServiceSettings
from genir.serving.workers import divide_threads, run_workers


def run_service(folder: str, host: str, port: int, workers: int, settings: ServiceSettings) -> None:
    """Load a retriever and serve it until SIGTERM or Ctrl-C.

    Raises GenirError if the address cannot be listened on, if the retriever cannot be loaded, and if several processes
    would share a GPU.
    """
    require_free(host, port)
    served = ServedRetriever.load(folder)
    if workers == 1:
        Server(make_server_config(create_app(served, settings), host, port, settings)).run()
        return
    if served.current.model.device.type != "cpu":
        raise GenirError("--workers: several processes cannot share a GPU; start one, which searches in batches")
    config = make_server_config(None, host, port, settings)
    listener = config.bind_socket()
    listener.listen(config.backlog)  # clients that connect before a worker has started wait for it

    def serve() -> None:
        divide_threads(workers)
        Server(make_server_config(create_app(served, settings), host, port, settings)).run([listener])

    # The port is closed when all processes have closed it; until then, clients would connect and get no answer.
    run_workers(workers, serve, settings.grace, multiprocess.mark_process_dead, listener.close)


def require_free(host: str, port: int) -> None:
    """Raise GenirError if a server cannot listen on an address; uvicorn would only find out after loading."""
    try:
        family, kind, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as uvicorn does
            listener.bind(address)
    except OSError as error:
        raise GenirError(
            f"cannot listen on {host}:{port} ({error.strerror}); choose another address with --host and --port"
        ) from None

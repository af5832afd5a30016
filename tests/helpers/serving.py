"""HTTP services for tests: in a thread of this process, or as a forked process of `genir serve`."""

import os
import re
import socket
import threading
from contextlib import contextmanager, suppress

import httpx
import numpy as np

from genir.docids.table import Codes, DocidTable
from genir.retriever import Retriever
from genir.serving.app import create_app
from genir.serving.reloading import ServedRetriever
from genir.serving.server import Server, make_server_config
from genir.serving.settings import ServiceSettings
from tests.helpers.models import make_model
from tests.helpers.processes import ROOT, start_python
from tests.helpers.retrievers import make_documents, with_bm25

LIMIT_FILES = """
import resource, sys
if limit := int(sys.argv.pop(1)):
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
from genir.__main__ import main
main()
"""


def make_owls(tokenizer, count=30):
    """A retriever with BM25 over the documents owls-01, owls-02, ... of random words."""
    documents = [x._replace(id=f"owls-{i:02}") for i, x in enumerate(make_documents(count), 1)]
    codes = np.array([[i // 6, i % 6] for i in range(count)], np.int32)
    ids, titles = [x.id for x in documents], [x.title for x in documents]
    table = DocidTable.from_codes(Codes(codes, (6, 6)), doc_ids=ids, titles=titles)
    return with_bm25(Retriever(make_model((6, 6), base=len(tokenizer)), tokenizer, table), documents)


def make_app(retriever, **settings):
    """The application of a service with some settings, without the server."""
    return create_app(ServedRetriever(retriever), ServiceSettings(**settings))


def make_config(retriever, **settings):
    """The configuration of a server on a free port."""
    return make_server_config(make_app(retriever, **settings), "127.0.0.1", 0, ServiceSettings(**settings))


@contextmanager
def running(config):
    """Run a service in a thread, and yield its address."""
    server = Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()


def ask(address, path, **parameters):
    """Send a GET request."""
    return httpx.get(f"http://127.0.0.1:{address[1]}/{path}", params=parameters, timeout=60)


def receive_all(connection):
    """Receive until the other side closes or resets the connection."""
    received = []
    with suppress(ConnectionResetError):
        while received[-1:] != [b""]:
            received.append(connection.recv(4096))
    return b"".join(received)


@contextmanager
def genir_serve(folder, *options, scratch, max_files=None):
    """Run `genir serve FOLDER OPTIONS` in a process; yield it, its address and the rest of its log, a file.

    max_files: the most files that the process may open. The process is killed if it has not ended afterwards.
    """
    files = [scratch / name for name in ("stdin", "stdout", "stderr")]
    files[0].touch()
    os.mkfifo(files[2])
    reading = os.open(files[2], os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    writing = os.open(files[2], os.O_WRONLY)  # until the process has opened the pipe, reading would find its end
    arguments = ["serve", str(folder), "--port", "0", *map(str, options)]
    process = start_python(["-c", LIMIT_FILES, str(max_files or 0), *arguments], ROOT, files)
    with os.fdopen(reading, encoding="utf-8") as log:
        try:
            port = next(int(found[1]) for line in log if (found := re.search(r"running on \S+:(\d+) ", line)))
            os.close(writing)
            yield process, ("127.0.0.1", port), log
        finally:
            process.kill()
            process.join()

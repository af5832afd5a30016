"""The HTTP service: its answers, and how it withstands long searches, slow clients and signals."""

import resource
import select
import signal
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager, suppress

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from fastapi.testclient import TestClient

from genir.docids.table import Codes, DocidTable
from genir.embedders import ModelEmbedder
from genir.errors import GenirError, SearchTimeout
from genir.retriever import Retriever
from genir.scoring.dense import DenseIndex
from genir.scoring.experts import Experts
from genir.serve import command, create_app, make_protocol, make_server_config
from tests.helpers.models import make_model
from tests.helpers.retrievers import make_documents
from tests.helpers.sentence_model import save_random_model

SIZES, MANY = (32,) * 8, 200_000
EXACT = b"GET /search?query=owls&exact=true HTTP/1.1\r\nHost: genir\r\n\r\n"


class ObservedRetriever(Retriever):
    """A retriever that tells when an exact search has begun, and when one was stopped."""

    def search(self, query, k=10, *, exact, timeout):
        if exact:
            self.has_begun.set()
        try:
            return super().search(query, k, exact=exact, timeout=timeout)
        except SearchTimeout:
            self.was_stopped.set()
            raise


@pytest.fixture(scope="module")
def slow_retriever(tokenizer):
    """A retriever whose exact searches take minutes, since it finds nearly all of its many documents equally good."""
    codes = np.random.default_rng(0).integers(0, 32, (MANY, len(SIZES))).astype(np.int32)
    names = [f"d{i}" for i in range(MANY)]
    table = DocidTable.from_codes(Codes(codes, SIZES), doc_ids=names, titles=names)
    retriever = ObservedRetriever(make_model(SIZES, base=len(tokenizer)), tokenizer, table)
    with torch.no_grad():
        retriever.model.t5.lm_head.weight.mul_(0.02)
    retriever.has_begun, retriever.was_stopped = threading.Event(), threading.Event()
    return retriever


@contextmanager
def running(config):
    """Run a service in a thread, and yield its address."""
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()
        finally:
            server.should_exit = True
            thread.join()


def receive_all(connection):
    """Receive until the other side closes or resets the connection."""
    received = []
    with suppress(ConnectionResetError):
        while received[-1:] != [b""]:
            received.append(connection.recv(4096))
    return b"".join(received)


def ask(address, path, **parameters):
    return httpx.get(f"http://127.0.0.1:{address[1]}/{path}", params=parameters, timeout=60)


def test_http_answers_are_those_of_the_retriever(make_retriever):
    retriever = make_retriever(np.array([[0, 1], [2, 0], [1, 1]]), (3, 2))
    client = TestClient(create_app(retriever))
    answer = client.get("/search", params={"query": "owls hunt", "k": 2})
    assert answer.status_code == 200
    hits = retriever.search("owls hunt", 2)
    assert [hit["doc_id"] for hit in answer.json()["hits"]] == [hit.doc_id for hit in hits]
    assert answer.json()["exact"] is hits.exact
    assert client.get("/search", params={"query": "owls hunt", "k": 1, "exact": True}).json()["exact"] is True
    assert client.get("/health").json() == {"documents": 3}
    for wrong in ({"query": ""}, {"query": "  "}, {"query": "x", "k": 0}, {}):
        assert client.get("/search", params=wrong).status_code == 422


def test_a_search_that_takes_too_long_is_answered_with_504(make_retriever):
    client = TestClient(create_app(make_retriever(np.array([[0, 1], [2, 0], [1, 1]]), (3, 2)), timeout=1e-6))
    answer = client.get("/search", params={"query": "owls"})
    assert answer.status_code == 504
    assert "the search was stopped after 1e-06 s" in answer.json()["detail"]


@pytest.mark.slow
def test_exact_searches_that_take_long_stop_no_other_request_and_end_with_their_clients(slow_retriever):
    with running(make_server_config(slow_retriever, "127.0.0.1", 0, 600)) as address, ExitStack() as clients:
        connections = [clients.enter_context(socket.create_connection(address)) for _ in range(40)]
        for connection in connections:
            connection.sendall(EXACT)
        refused = set()
        while len(refused) < 8:  # 32 may run or wait
            refused |= {*select.select([*{*connections} - refused], [], [])[0]}
        for connection in refused:
            answer = connection.recv(4096)
            assert b"503 Service Unavailable" in answer
            assert b"retry-after: 1" in answer
        assert ask(address, "search", query="owls", exact=True).status_code == 503
        assert ask(address, "health").json() == {"documents": MANY}
        assert len(ask(address, "search", query="owls").json()["hits"]) == 10
        assert slow_retriever.has_begun.is_set()
        assert not slow_retriever.was_stopped.is_set()
        clients.close()
        assert slow_retriever.was_stopped.wait(60)


@pytest.mark.slow
def test_a_running_search_is_answered_with_503_when_the_service_ends(slow_retriever):
    slow_retriever.has_begun.clear()
    with ExitStack() as clients:
        with running(make_server_config(slow_retriever, "127.0.0.1", 0, 600)) as address:
            connection = clients.enter_context(socket.create_connection(address))
            connection.sendall(EXACT)
            assert slow_retriever.has_begun.wait(60)
        answer = receive_all(connection)
    assert b"503 Service Unavailable" in answer
    assert b"shutting down" in answer


@pytest.mark.slow
@pytest.mark.parametrize("begun", [b"", b"GET /hea", b"GET /health HTTP/1.1\r\nHost: genir\r\n\r\nGET /hea"])
def test_a_client_that_does_not_complete_its_request_is_disconnected(make_retriever, begun):
    config = make_server_config(make_retriever(np.array([[0, 1], [2, 0]]), (3, 2)), "127.0.0.1", 0, 30)
    config.timeout_keep_alive = 1
    config.http = make_protocol(100, request_seconds=0.2)
    with running(config) as address, socket.create_connection(address) as connection:
        connection.sendall(begun)
        assert receive_all(connection).count(b"200 OK") == begun.count(b"genir")


@pytest.mark.slow
def test_a_process_with_few_files_answers_beside_many_open_connections_and_ends_on_sigterm(slow_retriever, tmp_path):
    slow_retriever.save_pretrained(tmp_path / "r")
    process = subprocess.Popen(
        [sys.executable, "-m", "genir", "serve", str(tmp_path / "r"), "--port", "0", "--timeout", "600"],
        stderr=subprocess.PIPE, text=True, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400)),
    )  # fmt: skip
    with process.stderr as log, ExitStack() as clients:
        address = next(("127.0.0.1", int(line.split(":")[3].split()[0])) for line in log if "running on" in line)
        for number in range(450):
            clients.enter_context(socket.create_connection(address)).sendall(b"GET /sea")
            if number % 50 == 0:
                assert ask(address, "health").status_code == 200
        searches = [clients.enter_context(socket.create_connection(address)) for _ in range(33)]
        for connection in searches:
            connection.sendall(EXACT)
        refused, _, _ = select.select(searches, [], [])  # one is refused once all have been read, since 32 may wait
        process.send_signal(signal.SIGTERM)
        rest = log.read()
        answers = {connection: receive_all(connection) for connection in searches}
    assert len(refused) == 1
    for connection, answer in answers.items():
        assert b"503 Service Unavailable" in answer
        assert (b"shutting down" in answer) == (connection not in refused)
    assert process.wait() == 143
    assert rest.splitlines()[-1] == "terminated"
    assert "Traceback" not in rest
    assert len(rest.splitlines()) < 20


def test_a_service_whose_query_model_is_missing_does_not_start(make_retriever, tmp_path):
    documents = make_documents(4)
    save_random_model(tmp_path / "model", documents)
    embedder = ModelEmbedder(str(tmp_path / "model"), 4)
    retriever = make_retriever(np.arange(4)[:, None], (4,))
    experts = Experts({"dense": DenseIndex(embedder.embed(documents), embedder)}, {"dense": 1.0})
    Retriever(retriever.model, retriever.tokenizer, retriever.table, experts=experts).save_pretrained(tmp_path / "r")
    (tmp_path / "model").rename(tmp_path / "away")
    with pytest.raises(GenirError, match=r"embed\.method .*model: .*cannot be loaded"):
        command(str(tmp_path / "r"))

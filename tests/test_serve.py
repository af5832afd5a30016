"""The command `genir serve` as processes: how it withstands long searches, slow clients, signals and changes."""

import select
import socket
import threading
from contextlib import ExitStack

import numpy as np
import pytest
import torch

from genir.docids.table import Codes, DocidTable
from genir.embedders import ModelEmbedder
from genir.errors import GenirError, SearchTimeout
from genir.retriever import Retriever
from genir.scoring.dense import DenseIndex
from genir.scoring.experts import Experts
from genir.serve import command
from tests.helpers.models import make_model
from tests.helpers.processes import run_genir
from tests.helpers.retrievers import make_documents
from tests.helpers.sentence_model import save_random_model
from tests.helpers.serving import ask, genir_serve, make_config, make_owls, receive_all, running

SIZES, MANY = (32,) * 8, 200_000
EXACT = b"GET /search?query=owls&exact=true HTTP/1.1\r\nHost: genir\r\n\r\n"
FAST = EXACT.replace(b"&exact=true", b"")


class ObservedRetriever(Retriever):
    """A retriever that tells when an exact search has begun, and when one was stopped."""

    def search_many(self, *arguments, exact, **options):
        if exact:
            self.has_begun.set()
        try:
            return super().search_many(*arguments, exact=exact, **options)
        except SearchTimeout:
            self.was_stopped.set()
            raise


@pytest.fixture(scope="module")
def slow_retriever(tokenizer):
    """A retriever whose exact searches take minutes, since it finds nearly all of its many documents equally good."""
    codes = np.random.default_rng(0).integers(0, 32, (MANY, len(SIZES))).astype(np.int32)
    names = [f"d{i}" for i in range(MANY)]
    table = DocidTable.from_codes(Codes(codes, SIZES), doc_ids=names, titles=names)
    retriever = Retriever(make_model(SIZES, base=len(tokenizer)), tokenizer, table)
    with torch.no_grad():
        retriever.model.t5.lm_head.weight.mul_(0.02)
    return retriever


@pytest.fixture
def observed(slow_retriever):
    retriever = ObservedRetriever(slow_retriever.model, slow_retriever.tokenizer, slow_retriever.table)
    retriever.has_begun, retriever.was_stopped = threading.Event(), threading.Event()
    return retriever


@pytest.mark.slow
def test_exact_searches_that_take_long_stop_no_other_request_and_end_with_their_clients(observed):
    with running(make_config(observed, timeout=600, max_queue=30)) as address, ExitStack() as clients:
        connections = [clients.enter_context(socket.create_connection(address)) for _ in range(40)]
        for connection in connections[:2]:
            connection.sendall(EXACT)
        assert observed.has_begun.wait(60)
        for connection in connections[2:]:
            connection.sendall(EXACT)
        refused = set()
        while len(refused) < 8:  # 2 run, and 30 may wait
            refused |= {*select.select([*{*connections} - refused], [], [])[0]}
        for connection in refused:
            answer = connection.recv(4096)
            assert b"503 Service Unavailable" in answer
            assert b"retry-after: 1" in answer
        assert ask(address, "search", query="owls", exact=True).status_code == 503
        assert ask(address, "health").json() == {"status": "alive"}
        assert len(ask(address, "search", query="owls").json()["hits"]) == 10
        assert observed.has_begun.is_set()
        assert not observed.was_stopped.is_set()
        clients.close()
        assert observed.was_stopped.wait(60)


@pytest.mark.slow
def test_a_running_search_is_answered_with_503_when_the_time_of_grace_is_over(observed):
    with ExitStack() as clients:
        with running(make_config(observed, timeout=600, grace=1)) as address:
            connection = clients.enter_context(socket.create_connection(address))
            connection.sendall(EXACT)
            assert observed.has_begun.wait(60)
        answer = receive_all(connection)
    assert b"503 Service Unavailable" in answer
    assert b"shutting down" in answer


@pytest.mark.slow
def test_a_process_with_few_files_answers_beside_many_open_connections_and_ends_on_sigterm(slow_retriever, tmp_path):
    slow_retriever.save_pretrained(tmp_path / "r")
    options = ("--timeout", 600, "--grace", 1)
    with (
        genir_serve(tmp_path / "r", *options, scratch=tmp_path, max_files=400) as (process, address, log),
        ExitStack() as clients,
    ):
        for number in range(450):
            clients.enter_context(socket.create_connection(address)).sendall(b"GET /sea")
            if number % 50 == 0:
                assert ask(address, "health").status_code == 200
        searches = [clients.enter_context(socket.create_connection(address)) for _ in range(5)]
        for connection in searches:
            connection.sendall(EXACT)
        fast = clients.enter_context(socket.create_connection(address))
        fast.sendall(FAST)
        assert b"200 OK" in fast.recv(4096)  # by now, the exact searches are running or waiting
        process.terminate()
        rest = log.read()
        answers = [receive_all(connection) for connection in searches]
        process.join()
    for answer in answers:
        assert b"503 Service Unavailable" in answer
        assert b"shutting down" in answer
    assert process.exitcode == 0
    assert "Traceback" not in rest
    assert len(rest.splitlines()) < 20


@pytest.mark.slow
def test_workers_share_a_port_and_load_a_changed_retriever(tokenizer, tmp_path):
    make_owls(tokenizer, 30).save_pretrained(tmp_path / "r")
    options = ("--workers", 2, "--access-log")
    with genir_serve(tmp_path / "r", *options, scratch=tmp_path) as (process, address, log):
        assert ask(address, "ready").json()["documents"] == 30
        (tmp_path / "ids").write_text("owls-07\n")
        run_genir("docids", tmp_path / "r", "--remove", tmp_path / "ids", cwd=tmp_path)
        reloads = (line for line in log if "again in" in line)
        assert all("29 documents" in next(reloads) for _ in range(2))
        found = ask(address, "search", query="owls", k=100).json()["hits"]
        assert len(found) == 29
        metrics = ask(address, "metrics").text
        process.terminate()
        rest = log.read()
        process.join()
    assert 'genir_reloads_total{result="loaded"} 2.0' in metrics
    assert 'genir_requests_total{code="200",method="GET",route="/search"} 1.0' in metrics
    assert process.exitcode == 0
    assert "Traceback" not in rest
    assert (tmp_path / "stdout").read_text().count('"path": "/search"') == 1


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


@pytest.mark.parametrize("key", ["", " key", "schlüssel", "a\nb"])
def test_a_key_that_cannot_be_sent_is_refused(key):
    with pytest.raises(GenirError, match="--api-key: must consist of ASCII"):
        command("nowhere", api_key=key)


def test_an_empty_variable_does_not_open_the_service(monkeypatch, tmp_path):
    monkeypatch.setenv("GENIR_API_KEY", "")
    assert "GENIR_API_KEY is empty" in run_genir("serve", "nowhere", cwd=tmp_path, status=1).stderr
    assert "nowhere: no such folder" in run_genir("serve", "nowhere", "--api-key", "k", cwd=tmp_path, status=1).stderr

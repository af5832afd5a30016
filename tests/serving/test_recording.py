"""Request ids and the access log."""

import json
import logging

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from genir.serving.metrics import Metrics
from genir.serving.recording import ACCESS_LOG, Recorder


@pytest.fixture
def client():
    app = FastAPI()

    @app.get("/owls")
    async def answer() -> None: ...

    app.add_middleware(Recorder, metrics=Metrics(), routes={"/owls"}, access_log=True)
    return TestClient(app)


@pytest.mark.parametrize("given", ["a1:b/c=", "x" * 128])
def test_the_id_of_a_request_is_returned(client, given):
    assert client.get("/", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\x1bb", "é"])
def test_a_request_without_a_proper_id_gets_a_new_one(client, given):
    ids = {client.get("/", headers={"X-Request-ID": given.encode()}).headers["x-request-id"] for _ in range(3)}
    assert len(ids) == 3
    assert given not in ids


def test_each_request_is_one_printable_line_of_json(client, caplog):
    with caplog.at_level(logging.INFO, ACCESS_LOG.name):
        client.get("/%1b[31m%7f%0a%e2%80%ae", params={"query": "owls\n"}, headers={"X-Request-ID": "one"})
        client.post("/owls")
    lines = [record.message for record in caplog.records if record.name == ACCESS_LOG.name]
    assert [line.isascii() and line.isprintable() for line in lines] == [True, True]
    first, second = map(json.loads, lines)
    assert (first["request_id"], first["method"], first["status"]) == ("one", "GET", 404)
    assert (first["path"], first["query"]) == ("/\x1b[31m\x7f\n\u202e", "query=owls%0A")
    assert (second["path"], second["method"], second["status"]) == ("/owls", "POST", 405)
    assert first["ms"] >= 0

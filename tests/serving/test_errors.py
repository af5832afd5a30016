"""The answers to requests that fail have one form."""

from typing import Annotated

import pytest
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from genir.errors import GenirError, SearchTimeout
from genir.serving.batching import Overloaded
from genir.serving.errors import ClientDisconnected, ShuttingDown, UnexpectedErrors, handle_errors

ERRORS = {
    "wrong": (GenirError("wrong \x1b[31m"), 422),
    "full": (Overloaded("full", 17), 503),
    "ending": (ShuttingDown("ending"), 503),
    "slow": (SearchTimeout("slow"), 504),
    "gone": (ClientDisconnected("gone"), 499),
    "tea": (HTTPException(418, "tea\x9b"), 418),
}


class Body(BaseModel):
    k: int


@pytest.fixture(scope="module")
def client():
    app = FastAPI()

    @app.get("/raise")
    async def fail(name: str, number: Annotated[int, Query(le=3)] = 1) -> None:
        raise ERRORS[name][0]

    @app.post("/body")
    async def read(body: Body) -> None: ...

    @app.get("/fail")
    async def fail_unexpectedly() -> None:
        raise ZeroDivisionError("secret")

    handle_errors(app)
    app.add_middleware(UnexpectedErrors)
    return TestClient(app)


@pytest.mark.parametrize("name", ERRORS)
def test_each_error_has_its_status_and_a_printable_sentence(client, name):
    error, status = ERRORS[name]
    answer = client.get("/raise", params={"name": name})
    text = str(getattr(error, "detail", error)).replace("\x9b", "\\x9b")
    assert answer.json() == {"error": text, "status": status, "request_id": ""}
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == {"full": "17", "ending": "1"}.get(name)


def test_wrong_parameters_and_bodies_are_described_in_one_sentence(client):
    def describe(answer):
        assert answer.status_code == 422
        return answer.json()["error"]

    assert describe(client.get("/raise", params={"name": "wrong", "number": 9})).startswith("number: ")
    assert "Content-Type: application/json" in describe(client.post("/body", content='{"k": 1}'))
    assert describe(client.post("/body", json={"k": []})).startswith("k: ")


def test_unknown_paths_and_methods_have_the_same_form(client):
    assert client.get("/nowhere").json()["status"] == 404
    answer = client.post("/raise")
    assert answer.json()["status"] == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_an_unexpected_error_is_logged_and_not_shown_to_the_client(client, caplog):
    answer = client.get("/fail")
    assert (answer.status_code, answer.json()["status"]) == (500, 500)
    assert "secret" not in answer.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_an_error_within_an_answer_is_logged_and_ends_the_connection(caplog):
    async def fail_within(scope, receive, send):
        await send({"type": "http.response.start", "status": 200})
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TestClient(UnexpectedErrors(fail_within)).get("/")
    assert "ZeroDivisionError" in caplog.text

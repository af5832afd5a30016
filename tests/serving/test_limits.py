"""Bodies that are too large: those whose size is announced, and those sent in chunks."""

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from genir.serving.errors import handle_errors
from genir.serving.limits import BodyLimit, choose_beams


@pytest.fixture(scope="module")
def client():
    app = FastAPI()

    @app.post("/length")
    async def length(request: Request) -> int:
        return len(await request.body())

    handle_errors(app)
    app.add_middleware(BodyLimit, max_bytes=100)
    return TestClient(app)


@pytest.mark.parametrize(("size", "status"), [(0, 200), (100, 200), (101, 413)])
def test_a_body_of_at_most_the_limit_is_read(client, size, status):
    in_chunks = iter([b"x" * (size // 2), b"x" * (size - size // 2)])
    for body in (b"x" * size, in_chunks):
        answer = client.post("/length", content=body)
        assert answer.status_code == status
        if status == 413:
            assert answer.json()["error"] == "the body of a request may have at most 100 bytes"
        else:
            assert answer.json() == size


@pytest.mark.parametrize(
    ("k", "beams", "expected"), [(3, None, 13), (95, None, 100), (100, None, 100), (120, None, 120), (3, 1, 1)]
)
def test_the_default_of_beams_is_within_the_limit_but_not_below_k(k, beams, expected):
    assert choose_beams(k, beams, 100) == expected

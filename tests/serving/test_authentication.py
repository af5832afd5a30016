"""Which requests need the API key."""

import pytest
from fastapi.testclient import TestClient

from tests.helpers.serving import make_app


@pytest.fixture(scope="module")
def client(owls):
    return TestClient(make_app(owls, api_key="s3cret"))


@pytest.mark.parametrize(
    "given", [None, "", "s3cret", "Bearer", "Bearer wrong", "Bearer s3cret2", "Basic s3cret", "Bearer é"]
)
def test_requests_without_the_key_are_refused(client, given):
    headers = {} if given is None else {"Authorization": given.encode()}
    for path in ("/search?query=owls", "/metrics", "/explain", "/nowhere"):
        answer = client.get(path, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
        assert "Authorization" in answer.json()["error"]


def test_requests_with_the_key_are_answered(client):
    for scheme in ("Bearer", "bearer"):
        answer = client.get("/search?query=owls", headers={"Authorization": f"{scheme} s3cret"})
        assert answer.status_code == 200


def test_checks_and_pages_need_no_key(client):
    assert [client.get(path).status_code for path in ("/health", "/ready", "/docs", "/openapi.json")] == [200] * 4

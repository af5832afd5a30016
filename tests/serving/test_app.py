"""The application as a whole: what every request passes through, and its pages."""

import pytest
from fastapi.testclient import TestClient

from genir.serving import app as app_module
from tests.helpers.serving import make_app


def test_pages_of_other_origins_may_send_requests_only_if_that_is_allowed(owls):
    ours = {"Origin": "https://search.example"}
    asking = {**ours, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    closed, opened = TestClient(make_app(owls)), TestClient(make_app(owls, cors=(ours["Origin"],), api_key="k"))
    assert "access-control-allow-origin" not in closed.get("/health", headers=ours).headers
    assert opened.options("/search", headers=asking).headers["access-control-allow-origin"] == ours["Origin"]
    answer = opened.get("/health", headers=ours)
    assert answer.headers["access-control-allow-origin"] == ours["Origin"]
    assert answer.headers["access-control-expose-headers"] == "X-Request-ID, Retry-After"
    assert "access-control-allow-origin" not in opened.get("/health", headers={"Origin": "https://other"}).headers


def test_pages_of_allowed_origins_can_read_answers_to_unexpected_errors(owls, monkeypatch):
    monkeypatch.setattr(type(owls), "search_many", None)
    ours = {"Origin": "https://search.example"}
    client = TestClient(make_app(owls, cors=(ours["Origin"],)))
    answer = client.get("/search", params={"query": "owls"}, headers=ours)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, ours["Origin"])
    assert answer.headers["x-request-id"] == answer.json()["request_id"]


def test_the_description_says_which_requests_need_the_key(owls):
    keyed, free = (make_app(owls, **settings).openapi() for settings in ({"api_key": "k"}, {}))
    assert keyed["components"]["securitySchemes"] == {"API key": {"type": "http", "scheme": "bearer"}}
    needed = {path for path, methods in keyed["paths"].items() for x in methods.values() if "security" in x}
    assert needed == {"/search", "/rank", "/explain", "/metrics"}
    assert "security" not in str(free)


def test_every_answer_has_a_request_id(owls):
    client = TestClient(make_app(owls, api_key="k"))
    for path in ("/health", "/nowhere", "/search"):
        assert client.get(path, headers={"X-Request-ID": "mine"}).headers["x-request-id"] == "mine"


def test_the_search_page_is_served_if_there_is_one(owls, tmp_path, monkeypatch):
    monkeypatch.setattr(app_module, "PAGE", tmp_path / "page")
    assert TestClient(make_app(owls)).get("/").status_code == 404
    (tmp_path / "page").mkdir()
    for name in ("index.html", "page.js"):
        (tmp_path / "page" / name).write_text(f"this is {name}")
    client = TestClient(make_app(owls, api_key="k"))
    assert client.get("/").text == "this is index.html"
    assert client.get("/page/page.js").text == "this is page.js"
    assert client.get("/page/../app.py").status_code in (401, 404)
    assert client.get("/page/%2e%2e/app.py").status_code == 404


@pytest.mark.parametrize("path", ["/docs", "/openapi.json"])
def test_the_service_describes_itself(service, path):
    assert service.get(path).status_code == 200

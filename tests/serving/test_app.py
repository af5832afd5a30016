"""The application as a whole: what every request passes through, and its pages."""

import json
import logging
import re

import pytest
from fastapi.testclient import TestClient

from genir.serving import app as app_module
from genir.serving.recording import ACCESS_LOG
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


def test_answers_to_pages_of_other_origins_are_recorded_and_can_be_read(owls, monkeypatch, caplog):
    monkeypatch.setattr(type(owls), "search_many", None)
    ours, asking = {"Origin": "https://search.example"}, {"Access-Control-Request-Method": "GET"}
    client = TestClient(make_app(owls, cors=(ours["Origin"],), access_log=True))
    with caplog.at_level(logging.INFO, ACCESS_LOG.name):
        failed = client.get("/search", params={"query": "owls"}, headers=ours)
        allowed = client.options("/search", headers=ours | asking)
        refused = client.options("/search", headers={"Origin": "https://other"} | asking)
    assert [x.status_code for x in (failed, allowed, refused)] == [500, 200, 400]
    assert failed.headers["x-request-id"] == failed.json()["request_id"]
    assert failed.headers["access-control-allow-origin"] == ours["Origin"]
    assert allowed.headers["access-control-allow-origin"] == ours["Origin"]
    assert "access-control-allow-origin" not in refused.headers
    lines = [json.loads(record.message) for record in caplog.records if record.name == ACCESS_LOG.name]
    expected = [(x.headers["x-request-id"], x.status_code) for x in (failed, allowed, refused)]
    assert [(line["request_id"], line["status"]) for line in lines] == expected
    counts = [x for x in client.get("/metrics").text.splitlines() if x.startswith("genir_requests_total{")]
    for method, code in [("GET", 500), ("OPTIONS", 200), ("OPTIONS", 400)]:
        [count] = [x for x in counts if f'code="{code}"' in x and f'method="{method}"' in x and 'route="/search"' in x]
        assert count.endswith(" 1.0")


def test_the_description_says_which_requests_need_the_key(owls):
    keyed, free = (make_app(owls, **settings).openapi() for settings in ({"api_key": "k"}, {}))
    [(name, scheme)] = keyed["components"]["securitySchemes"].items()
    assert scheme == {"type": "http", "scheme": "bearer"}
    assert re.fullmatch(r"[a-zA-Z0-9._-]+", name)  # what OpenAPI allows for the names of components
    operations = [(path, x) for path, methods in keyed["paths"].items() for x in methods.values()]
    needed = {path for path, operation in operations if "security" in operation}
    assert needed == {"/search", "/rank", "/explain", "/metrics"}
    for path, operation in operations:
        content = operation["responses"].get("401", {}).get("content")
        assert (content is not None) == (path in needed)
        assert content is None or content.keys() == {"application/json"}
    assert keyed["paths"]["/metrics"]["get"]["responses"]["200"]["content"].keys() == {"text/plain"}
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

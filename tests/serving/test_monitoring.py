"""The endpoints for monitoring, read as load balancers and Prometheus read them."""

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from genir.retriever import Retriever
from tests.helpers.serving import make_app


def read_metrics(client):
    """All samples: (name, labels) -> value."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {(x.name, *sorted(x.labels.items())): x.value for family in families for x in family.samples}


def test_a_service_is_ready_once_it_has_searched(owls, monkeypatch):
    queries = []
    monkeypatch.setattr(owls, "search", lambda query, k: queries.append(query) or Retriever.search(owls, query, k))
    with TestClient(make_app(owls)) as client:
        assert len(queries) == 1
        assert client.get("/health").json() == {"status": "alive"}
        assert client.get("/ready").json() == {"status": "ready", "documents": 30}


def test_the_metrics_count_what_was_asked(owls):
    with TestClient(make_app(owls)) as client:
        found = [client.get("/search", params={"query": "owls", "k": k}).json()["exact"] for k in (1, 2, 30)]
        client.get("/search")
        client.get("/secret/1")
        client.post("/search", json={"queries": ["owls", "foxes"], "exact": True})
        found.append(client.post("/search", json={"query": "owls", "k": 1000}).json()["exact"])
        metrics = read_metrics(client)

    def requests(route, method, code):
        return metrics["genir_requests_total", ("code", code), ("method", method), ("route", route)]

    assert requests("/search", "GET", "200") == 3
    assert requests("/search", "GET", "422") == requests("other", "GET", "404") == 1
    assert metrics["genir_request_seconds_count", ("route", "/search")] == 6
    assert metrics["genir_searches_total", ("certified", "true")] == sum(found) + 2
    assert metrics["genir_searches_total", ("certified", "false")] == 4 - sum(found)
    assert metrics["genir_batch_size_count",] == 6  # exact searches run alone
    assert metrics["genir_beams_sum",] == 11 + 12 + 40 + 2 * 20 + 1000  # k + 10, at most 1,000
    assert metrics["genir_documents",] == 30
    assert metrics["genir_queue_length", ("queue", "fast")] == 0

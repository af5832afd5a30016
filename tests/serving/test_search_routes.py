"""The answers to searches over HTTP are those of the retriever."""

from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore

import pytest
from fastapi.testclient import TestClient

from genir.errors import SearchTimeout
from genir.retriever import Retriever
from tests.helpers.beir import SUBJECTS
from tests.helpers.serving import make_app


def require_same(answer, hits):
    """Compare the JSON of hits with the hits of the retriever."""
    assert [(x["rank"], x["doc_id"], x["title"], tuple(x["docid"])) for x in answer] == [
        (x.rank, x.doc_id, x.title, x.docid) for x in hits
    ]
    assert [x["score"] for x in answer] == pytest.approx([x.score for x in hits], abs=1e-5)


def test_one_query_has_the_same_answer_by_get_and_post(service, owls):
    hits = owls.search("owls hunt", 2)
    by_get = service.get("/search", params={"query": "owls hunt", "k": 2}).json()
    by_post = service.post("/search", json={"query": "owls hunt", "k": 2}).json()
    for answer in (by_get, by_post):
        require_same(answer["hits"], hits)
        assert (answer["query"], answer["exact"], answer["num_proven"]) == ("owls hunt", hits.exact, hits.num_proven)
        assert set(answer["timings"]) == {"queue_ms", "search_ms"}
    assert service.get("/search", params={"query": "owls", "exact": True}).json()["exact"] is True


def test_clients_that_search_at_the_same_time_get_their_own_answers(service, owls):
    texts = [*SUBJECTS] * 2
    with ThreadPoolExecutor(16) as clients:
        answers = list(clients.map(lambda text: service.get("/search", params={"query": text}).json(), texts))
    assert [answer["query"] for answer in answers] == texts
    for answer in answers:
        require_same(answer["hits"], owls.search(answer["query"]))
    many = service.post("/search", json={"queries": texts, "k": 3, "beams": 12}).json()["results"]
    for answer, text in zip(many, texts, strict=True):
        require_same(answer["hits"], owls.search(text, 3, 12))


def test_the_allowed_documents_are_the_only_ones(service, owls):
    some = ["owls-03", "owls-17", "owls-08"]
    answer = service.post("/search", json={"query": "owls", "allowed": some}).json()
    require_same(answer["hits"], owls.search("owls", allowed=some))
    assert {hit["doc_id"] for hit in answer["hits"]} == {*some}
    unknown = service.post("/search", json={"query": "owls", "allowed": ["owls-03", "\x1b[31m"]})
    assert unknown.status_code == 422
    assert "no document '\\x1b[31m'" in unknown.json()["error"]


def test_given_documents_are_ranked_and_scores_are_explained(service, owls):
    given = ["owls-03", "owls-17", "owls-08"]
    answer = service.post("/rank", json={"query": "owls hunt", "doc_ids": given}).json()
    require_same(answer["hits"], owls.rank("owls hunt", given))
    expected = owls.explain("owls hunt", "owls-17")
    found = service.get("/explain", params={"query": "owls hunt", "doc_id": "owls-17"}).json()
    assert found["score"] == pytest.approx(expected.score, abs=1e-5)
    assert found["experts"] == pytest.approx(expected.experts)
    assert found["levels"] == [level._asdict() for level in expected.levels]
    for path, wrong in [("rank", {"query": "x", "doc_ids": ["owls-01", "owls-01"]}), ("rank", {"query": "x"})]:
        assert service.post(path, json=wrong).status_code == 422
    assert service.get("/explain", params={"query": "x", "doc_id": "nowhere"}).status_code == 422


class Endless(Retriever):
    """A retriever whose rankings and explanations take until their deadline, at which `stopped` is released.

    begun: how many have begun.
    """

    begun = 0

    def rank(self, *arguments, timeout=None, **options):
        self.begun += 1
        deadline = next(filter(None, [timeout, *arguments[2:]]))
        try:
            while True:
                deadline.check()
        except SearchTimeout:
            self.stopped.release()
            raise

    explain = rank


@pytest.mark.parametrize(
    ("method", "path", "options"),
    [
        ("POST", "/rank", {"json": {"query": "owls", "doc_ids": ["owls-01"]}}),
        ("GET", "/explain", {"params": {"query": "owls", "doc_id": "owls-01"}}),
        ("GET", "/explain", {"params": {"query": "owls"}}),
    ],
)
def test_a_ranking_or_an_explanation_stops_in_its_thread_at_the_deadline(owls, method, path, options):
    endless = Endless(owls.model, owls.tokenizer, owls.table)
    endless.stopped = Semaphore(0)
    with TestClient(make_app(endless, timeout=0.02)) as client:
        for number in range(2):  # the second one is not kept waiting by the first
            while endless.begun == number:  # on a busy machine, the deadline may pass before it begins
                assert client.request(method, path, **options).status_code == 504
            assert endless.stopped.acquire(timeout=60)


def test_wrong_parameters_are_refused(service):
    for wrong in ({"query": ""}, {"query": "  "}, {"query": "x", "k": 0}, {}, {"query": "x", "n": 3}):
        answer = service.get("/search", params=wrong)
        assert answer.status_code == 422
        assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert service.post("/search", content=b"x" * 1_000_001).status_code == 413
    for path, others in [("/search", {}), ("/rank", {"doc_ids": ["owls-01"]})]:
        timeout = service.post(path, json={"query": "x", "timeout_ms": 0.001, **others})
        assert timeout.status_code == 504
        assert timeout.json()["error"].startswith("stopped after 1e-06 s; allow more time")

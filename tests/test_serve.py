import numpy as np
from fastapi.testclient import TestClient

from genir.serve import create_app


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

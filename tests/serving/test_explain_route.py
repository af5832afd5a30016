"""GET /explain without a document: the explanation of a search, as the page shows it."""

import pytest

QUERY = "owls hunt mice"


def approximate(value):
    """A copy in which floats are compared with a tolerance, since a service may search in batches."""
    if isinstance(value, dict):
        return {name: approximate(x) for name, x in value.items()}
    if isinstance(value, list):
        return [approximate(x) for x in value]
    return pytest.approx(value, abs=1e-5) if isinstance(value, float) else value


@pytest.mark.parametrize("options", [{}, {"k": 3}, {"k": 5, "beams": 2}])
def test_a_search_is_explained_as_in_python(service, owls, options):
    answer = service.get("/explain", params={"query": QUERY, **options}).json()
    assert answer == approximate(owls.explain(QUERY, **options).to_dict())
    found = service.post("/search", json={"query": QUERY, **options}).json()
    assert [(hit["rank"], hit["doc_id"], hit["docid"]) for hit in answer["hits"]] == [
        (hit["rank"], hit["doc_id"], hit["docid"]) for hit in found["hits"]
    ]
    assert (answer["exact"], answer["num_proven"]) == (found["exact"], found["num_proven"])


def test_a_search_for_as_many_documents_as_are_explained_has_no_more_beams(service, owls, monkeypatch):
    explain, used = owls.explain, []
    monkeypatch.setattr(owls, "explain", lambda query, **options: used.append(options) or explain(query, **options))
    assert service.get("/explain", params={"query": QUERY, "k": 100}).status_code == 200
    assert [(options["k"], options["beams"]) for options in used] == [(100, 100)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 101},
        {"beams": 101},
        {"query": " "},
        {"size": 3},
        {"k": 3, "doc_id": "owls-01"},
        {"beams": 3, "doc_id": "owls-01"},
    ],
)
def test_wrong_parameters_are_named(service, wrong):
    answer = service.get("/explain", params={"query": QUERY, **wrong})
    assert answer.status_code == 422
    assert next(iter(wrong)) in answer.json()["error"]

"""Wrong requests: each is answered with one sentence that names the parameter and what is allowed."""

import pytest

JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"k": True}, "k: must be a whole number, got true"),
        ({"k": "5"}, 'k: must be a whole number, got "5"'),
        ({"k": 5.0}, "k: must be a whole number, got 5.0"),
        ({"k": None}, "k: must be a whole number, got null"),
        ({"k": 0}, "k: must be at least 1, got 0"),
        ({"beams": 1001}, "beams: must be at most 1,000, got 1001"),
        ({"k": 1001}, "k: must be at most 1,000, got 1001"),
        ({"k": [1] * 100}, "k: must be a whole number, got [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,…"),
        ({"exact": 1}, "exact: must be true or false, got 1"),
        ({"timeout_ms": "5"}, 'timeout_ms: must be a number, got "5"'),
        ({"timeout_ms": True}, "timeout_ms: must be a number, got true"),
        ({"timeout_ms": 0}, "timeout_ms: must be more than 0, got 0"),
        ({"allowed": "owls-01"}, 'allowed: must be a list, got "owls-01"'),
        ({"allowed": [1]}, "allowed[0]: must be a text, got 1"),
        ({"allowed": []}, "allowed: must have at least 1 item, got 0"),
        ({"query": 7}, "query: must be a text, got 7"),
        ({"query": "x" * 10_001}, "query: must have at most 10,000 characters, got 10,001"),
        ({"query": " "}, "the query is empty; it needs at least one word"),
        ({"query": None, "queries": []}, "queries: must have at least 1 item, got 0"),
        ({"query": None, "queries": ["x"] * 101}, "queries: must have at most 100 items, got 101"),
        ({"query": None, "queries": ["x", None]}, "queries[1]: must be a text, got null"),
        ({"queries": ["x"]}, "give either query, a text, or queries, a list of texts"),
        (
            {"beam": 3},
            "'beam': there is no such parameter; there are query, queries, k, beams, exact, allowed, timeout_ms",
        ),
        ({"": 1}, "'': there is no such parameter; there are query, queries, k, beams, exact, allowed, timeout_ms"),
    ],
)
def test_a_wrong_value_in_a_body_is_named_with_what_is_allowed(service, body, message):
    answer = service.post("/search", json={"query": "owls", **body})
    assert (answer.status_code, answer.json()["error"]) == (422, message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "send the parameters in the body as a JSON object, with the header Content-Type: application/json"),
        (b"[1]", "send the parameters in the body as a JSON object, with the header Content-Type: application/json"),
        (b'{"query": "x", "k": 1, "k": 2}', "the body cannot be read: the key 'k' is given twice"),
        (b'{"query": "x", "timeout_ms": NaN}', "the body cannot be read: NaN is not a number"),
        (b'{"query": "\xff"}', "the body is not UTF-8 text: invalid start byte at byte 11"),
        (b'{"query": "\\ud800"}', "query: must be valid Unicode, without unpaired surrogates"),
        (b'{"k"', "the body is not valid JSON: Expecting ':' delimiter at character 4"),
        (b"[" * 100_000, "the body cannot be read: JSON that exceeds the limits of Python's parser"),
    ],
)
def test_a_body_whose_meaning_is_uncertain_is_refused(service, content, message):
    answer = service.post("/search", content=content, headers=JSON)
    assert answer.status_code == 422
    assert answer.json()["error"].startswith(message)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/search", "query: this parameter is missing"),
        ("/search?query=a&query=b", "'query': given 2 times; give it once"),
        ("/search?query=a&k=5&k=5", "'k': given 2 times; give it once"),
        ("/search?query=a&k=1_0", 'k: must be a whole number, got "1_0"'),
        ("/search?query=a&k=", 'k: must be a whole number, got ""'),
        ("/search?query=a&k=0", "k: must be at least 1, got 0"),
        ("/search?query=a&exact=maybe", 'exact: must be true or false, got "maybe"'),
        ("/search?query=a&beams=3", "'beams': there is no such parameter; there are query, k, exact"),
        ("/search?query=a&=3", "'': there is no such parameter; there are query, k, exact"),
        ("/search?query=a&=3&=4", "'': given 2 times; give it once"),
        ("/explain?query=a&doc_id=x&doc_id=y", "'doc_id': given 2 times; give it once"),
        ("/explain?query=a&beams=101", "beams: must be at most 100, got 101"),
    ],
)
def test_a_wrong_parameter_in_an_address_is_named_with_what_is_allowed(service, path, message):
    answer = service.get(path)
    assert (answer.status_code, answer.json()["error"]) == (422, message)


def test_parameters_in_the_address_of_a_request_with_a_body_are_not_ignored(service):
    for path, body in [("/search?k=3", {"query": "x"}), ("/rank?k=3", {"query": "x", "doc_ids": ["owls-01"]})]:
        answer = service.post(path, json=body)
        assert answer.status_code == 422
        assert answer.json()["error"] == "'k': parameters of this request belong in its body, a JSON object"


def test_a_long_name_is_not_repeated_whole(service):
    name = "x" * 300_000
    bodies = [f'{{"query": "owls", "{name}": 1}}', f'{{"{name}": 1, "{name}": 2}}']
    answers = [service.post("/search", content=body, headers=JSON) for body in bodies]
    answers += [service.get(f"/search?query=owls&{name[:3000]}=1"), service.post(f"/search?{name[:3000]}=1", json={})]
    for answer in answers:
        assert answer.status_code == 422
        assert "xxx…'" in answer.json()["error"]
        assert len(answer.json()["error"]) < 250


def test_numbers_of_all_kinds_that_are_right_are_accepted(service):
    assert service.post("/search", json={"query": "owls", "k": 2, "timeout_ms": 60_000.5}).status_code == 200
    assert service.post("/search", json={"query": "owls", "beams": None, "timeout_ms": 60_000}).status_code == 200
    assert len(service.get("/search?query=owls&k=%2B2&exact=True").json()["hits"]) == 2

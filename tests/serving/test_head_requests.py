"""HEAD requests, sent over HTTP."""

import http.client

import pytest


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/page/page.js",
        "/docs",
        "/openapi.json",
        "/health",
        "/ready",
        "/metrics",
        "/search?query=owls",
        "/search",
        "/x",
    ],
)
def test_head_has_the_status_and_the_type_of_get_and_no_body(service, path):
    expected = service.get(path)
    connection = http.client.HTTPConnection(service.base_url.host, service.base_url.port)
    try:
        for _ in range(2):  # on one connection, so that a body would be taken for the next answer
            connection.request("HEAD", path)
            answer = connection.getresponse()
            assert answer.read() == b""
            assert answer.status == expected.status_code
            assert answer.headers["content-type"] == expected.headers["content-type"]
            if path == "/health":
                assert int(answer.headers["content-length"]) == len(expected.content)
    finally:
        connection.close()


def test_methods_that_an_endpoint_does_not_have_are_answered_with_those_that_it_has(service):
    for method, path, allowed in [
        ("DELETE", "/search", "GET, HEAD, POST"),
        ("GET", "/rank", "POST"),
        ("HEAD", "/rank", "POST"),
        ("POST", "/health", "GET, HEAD"),
    ]:
        answer = service.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)

"""What is read from the hub is read from the cache at once if the hub does not answer."""

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError

from genir.files.hub import TIMEOUT, cache_unless


@pytest.fixture
def hub(monkeypatch):
    """The address of a hub that answers with a status that can be changed."""

    class Handler(BaseHTTPRequestHandler):
        status = 404

        def do_GET(self):
            self.send_response(self.status)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", Handler
        server.shutdown()


def ask(address):
    return HfApi(endpoint=address).model_info("alice/owls", timeout=TIMEOUT)


def test_an_answer_of_the_hub_is_passed_on(hub):
    address, _ = hub
    with cache_unless(lambda: None) as problem:
        assert (problem, constants.HF_HUB_OFFLINE) == ("", False)
    with pytest.raises(RepositoryNotFoundError), cache_unless(lambda: ask(address)):
        pass
    assert not constants.HF_HUB_OFFLINE


def test_without_an_answer_only_the_cache_is_read_in_the_block(hub):
    address, handler = hub
    handler.status = 503
    for place in (address, "http://127.0.0.1:1"):
        with pytest.raises(ZeroDivisionError), cache_unless(lambda place=place: ask(place)) as problem:
            assert problem
            assert "\n" not in problem
            assert constants.HF_HUB_OFFLINE
            raise ZeroDivisionError
        assert not constants.HF_HUB_OFFLINE

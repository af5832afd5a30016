"""Whether the hub answers, and reading data sets from the cache alone if it does not."""

from threading import Event, Thread

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, RepositoryNotFoundError

from genir.files.hub import TIMEOUT, find_hub_problem, reading_cache_only
from tests.helpers.hub import serve_status


@pytest.fixture(autouse=True)
def online(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def ask(address, name="alice/owls"):
    return lambda: HfApi(endpoint=address).model_info(name, timeout=TIMEOUT)


def test_an_answer_about_the_repository_is_passed_on():
    assert find_hub_problem(lambda: None) == ""
    with serve_status(404, "RepoNotFound") as address, pytest.raises(RepositoryNotFoundError):
        find_hub_problem(ask(address))
    with serve_status(403) as address, pytest.raises(HfHubHTTPError):
        find_hub_problem(ask(address))
    with pytest.raises(HFValidationError):
        find_hub_problem(ask("http://127.0.0.1:1", "a--b/c"))


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_hub_that_cannot_answer_now_is_a_problem_in_one_line(status):
    with serve_status(status) as address:
        problem = find_hub_problem(ask(address))
    assert str(status) in problem
    assert "\n" not in problem


def test_a_hub_that_cannot_be_reached_is_a_problem():
    assert find_hub_problem(ask("http://127.0.0.1:1"))


def test_the_setting_is_restored_after_an_error():
    with pytest.raises(ZeroDivisionError), reading_cache_only():
        assert constants.HF_HUB_OFFLINE
        raise ZeroDivisionError
    assert not constants.HF_HUB_OFFLINE


def test_blocks_of_several_threads_may_overlap():
    inside, leave = Event(), Event()

    def run():
        with reading_cache_only():
            inside.set()
            leave.wait()

    thread = Thread(target=run)
    with reading_cache_only():
        thread.start()
        inside.wait()
    assert constants.HF_HUB_OFFLINE
    leave.set()
    thread.join()
    assert not constants.HF_HUB_OFFLINE

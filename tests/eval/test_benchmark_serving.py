"""The clients of eval/benchmark_serving.py send what they say, and count what they get."""

import itertools
import os
import time

import numpy as np
import pytest

from eval.benchmark_serving import Answer, keep_pace, memory_mb, running_server, send_requests, stop_after, summarize
from genir.errors import GenirError
from tests.helpers.serving import make_config, make_owls, running


@pytest.fixture(scope="module")
def port(tokenizer):
    with running(make_config(make_owls(tokenizer))) as address:
        yield address[1]


def test_all_clients_send_requests_until_the_time_is_over(port):
    paths = itertools.cycle(["/health", "/search?query=owls", "/nowhere"])
    answers = send_requests(port, paths, 3, stop_after(0.3))
    statuses = [answer.status for answer in answers]
    assert len(statuses) > 3
    assert abs(statuses.count(200) - 2 * statuses.count(404)) <= 2
    assert statuses.count(200) + statuses.count(404) == len(statuses)


def test_requests_begin_at_equal_distances_and_not_before(port):
    start = time.monotonic()
    answers = send_requests(port, itertools.repeat("/health"), 4, keep_pace(100, 0.295))
    assert len(answers) == 30
    assert time.monotonic() - start >= 0.29
    dues = [*iter(keep_pace(100, 0.295), None)]
    assert np.diff(dues) == pytest.approx(0.01)


@pytest.mark.slow
def test_a_service_that_does_not_start_tells_why(tmp_path):
    reason = "did not start: .*nowhere: no such folder"
    with pytest.raises(GenirError, match=reason), running_server(str(tmp_path / "nowhere"), []):
        pass


def test_a_summary_counts_errors_and_orders_times():
    answers = [Answer(200, i / 1000) for i in range(1, 101)] + [Answer(503, 0.0505), Answer(0, 0.0505)]
    found = summarize(answers, 10)
    assert found["requests/s"] == 10
    assert found["errors"] == 2
    assert found["median ms"] == pytest.approx(50.5)
    assert 98 < found["p99 ms"] <= 100


def test_the_memory_of_a_process_is_positive():
    assert memory_mb(os.getpid()) > 10

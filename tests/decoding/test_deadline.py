"""Deadlines: searches that give up, and searches that do not."""

import math
import threading

import pytest
import torch

from genir.decoding.beam import beam_search
from genir.decoding.deadline import Deadline
from genir.docids.trie import Trie
from genir.errors import GenirError, SearchTimeout
from tests.helpers.models import make_model
from tests.helpers.search import StopsAt, random_codes, random_queries

SIZES = (5, 7, 4, 6, 5, 3)


@pytest.mark.parametrize("wrong", [0, -1, math.nan, True, "3"])
def test_a_timeout_is_a_positive_number_of_seconds(wrong):
    with pytest.raises(GenirError, match="timeout must be a positive number of seconds"):
        Deadline.of(wrong)


def test_a_deadline_passes_with_the_time_or_when_it_is_cancelled():
    passed, cancelled, endless = Deadline(1e-9), Deadline(1e6), Deadline.of(None)
    for _ in range(2):
        with pytest.raises(TimeoutError, match="stopped after 1e-09 s"):
            passed.check()
        cancelled.check()
        endless.check()
    assert Deadline.of(cancelled) is cancelled
    cancelled.cancel()
    with pytest.raises(SearchTimeout, match="cancelled"):
        cancelled.check()


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("softmax_over", ["trie", "full"])
def test_a_search_can_be_stopped_before_every_pass_and_the_next_one_is_the_same_as_ever(exact, softmax_over):
    trie, model = Trie.from_codes(random_codes(150, SIZES, 1)), make_model(SIZES, softmax_over)
    with torch.no_grad():
        encoded = model.encode(*random_queries(2))
    expected, never = beam_search(model, trie, encoded, 4, 5, exact=exact), StopsAt()
    found = beam_search(model, trie, encoded, 4, 5, exact=exact, deadline=never)
    assert all(torch.equal(x, y) for x, y in zip(found, expected, strict=True))
    assert never.checks >= 3
    for number in range(1, never.checks + 1):
        deadline = StopsAt(number)
        with pytest.raises(SearchTimeout):
            beam_search(model, trie, encoded, 4, 5, exact=exact, deadline=deadline)
        assert deadline.checks == number
    again = beam_search(model, trie, encoded, 4, 5, exact=exact)
    assert all(torch.equal(x, y) for x, y in zip(again, expected, strict=True))


def test_another_thread_can_cancel_a_search():
    trie, model = Trie.from_codes(random_codes(300, SIZES, 1)), make_model(SIZES)
    with torch.no_grad():
        encoded = model.encode(*random_queries(1))
    has_begun, may_continue, stopped = threading.Event(), threading.Event(), []

    class Waits(StopsAt):
        def check(self):
            has_begun.set()
            may_continue.wait()
            super().check()

    def search():
        try:
            beam_search(model, trie, encoded, 4, 5, deadline=deadline)
        except SearchTimeout as error:
            stopped.append(error)

    deadline = Waits()
    thread = threading.Thread(target=search)
    thread.start()
    has_begun.wait()
    deadline.cancel()
    may_continue.set()
    thread.join()
    assert len(stopped) == deadline.checks == 1

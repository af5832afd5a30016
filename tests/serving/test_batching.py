"""The queue whose items are processed together with others of the same kind."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from genir.decoding.deadline import Deadline
from genir.errors import SearchTimeout
from genir.serving.batching import BatchDeadline, BatchQueue, Overloaded


class Blocked:
    """Doubles numbers, once it is allowed to, and remembers the batches."""

    def __init__(self):
        self.may_run = threading.Event()
        self.batches = []

    def __call__(self, items):
        self.batches.append(items)
        self.may_run.wait()
        return [ValueError(item) if item < 0 else 2 * item for item in items]


def make_queue(process, threads=1, max_batch=4, max_queue=100, **options):
    return BatchQueue(process, threads, max_batch, 0.01, max_queue, **options)


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_items_that_wait_are_processed_together_if_they_have_the_same_key():
    process, lengths, sizes = Blocked(), [], []

    async def run():
        queue = make_queue(process, on_length=lengths.append, on_batch=sizes.append)
        first = asyncio.ensure_future(queue.run([0], "a"))
        await until(lambda: process.batches)
        calls = [queue.run([number], "ab"[number % 2]) for number in range(1, 12)]
        rest = asyncio.gather(*calls, queue.run([20, 21], None), queue.run([30, 31, 32], "a"))
        await until(lambda: max(lengths) == 16)
        process.may_run.set()
        return await first, await rest

    first, rest = asyncio.run(run())
    results = [[done.result for done in call] for call in rest]
    assert [done.result for done in first] == [0]
    assert results == [*([2 * number] for number in range(1, 12)), [40, 42], [60, 62, 64]]
    assert process.batches == [[0], [1, 3, 5, 7], [2, 4, 6, 8], [9, 11], [10, 30, 31, 32], [20], [21]]
    assert sizes == [len(batch) for batch in process.batches]
    assert lengths[-1] == 0
    assert all(done.queued >= 0 and done.taken >= 0 for call in rest for done in call)


def test_items_without_a_key_are_processed_apart_from_those_of_others():
    process = Blocked()
    process.may_run.set()

    async def run():
        queue = make_queue(process)
        await asyncio.gather(*(queue.run([number], None) for number in range(3)))

    asyncio.run(run())
    assert sorted(process.batches) == [[0], [1], [2]]


def test_too_many_items_are_refused_and_those_whose_call_is_cancelled_are_not_processed():
    process = Blocked()

    async def run():
        queue = make_queue(process, max_queue=3)
        running = asyncio.ensure_future(queue.run([1], None))
        await until(lambda: process.batches)
        waiting = [asyncio.ensure_future(queue.run([number], None)) for number in (2, 3, 4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 queries are waiting"):
            await queue.run([5], None)
        waiting[1].cancel()
        await asyncio.wait(waiting[1:2])
        last = asyncio.ensure_future(queue.run([6], None))
        await asyncio.sleep(0)
        process.may_run.set()
        await asyncio.gather(running, waiting[0], waiting[2], last)

    asyncio.run(run())
    assert process.batches == [[1], [2], [4], [6]]


def test_a_refusal_says_when_the_items_that_wait_should_be_done(monkeypatch):
    """On a clock that each item advances by 4 s: three items that wait take 12 s in one thread, and 6 s in two."""
    now = [0.0]
    monkeypatch.setattr("genir.serving.batching.time", SimpleNamespace(monotonic=lambda: now[0]))

    def process(items):
        if items[0] == "blocks":
            blocked.append(items)
            may_end.wait()
        else:
            now[0] += 4 * len(items)
        return items

    async def run(threads):
        queue = make_queue(process, threads, max_batch=3, max_queue=3)
        assert queue.estimate_wait() == 1
        await queue.run(["a", "b"], "key")
        blocking = [asyncio.ensure_future(queue.run(["blocks"], None)) for _ in range(threads)]
        await until(lambda: len(blocked) == threads)
        waiting = asyncio.ensure_future(queue.run(["c", "d", "e"], "key"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded, match="3 queries are waiting already; try again in") as error:
            await queue.run(["f"], "key")
        may_end.set()
        await asyncio.gather(waiting, *blocking)
        return error.value.retry_after

    for threads, expected in [(1, 12), (2, 6)]:
        blocked, may_end = [], threading.Event()
        assert asyncio.run(run(threads)) == expected


def test_an_item_that_fails_fails_only_its_own_call():
    process = Blocked()
    process.may_run.set()

    async def run():
        queue = make_queue(process)
        return await asyncio.gather(*(queue.run([x], "a") for x in (1, -1, 2)), return_exceptions=True)

    good, failed, other = asyncio.run(run())
    assert (good[0].result, other[0].result) == (2, 4)
    assert isinstance(failed, ValueError)


def test_an_error_of_the_function_is_raised_in_every_call_of_the_batch_and_the_queue_goes_on():
    def fail_once(items):
        if not calls:
            calls.append(items)
            raise MemoryError
        return items

    calls = []

    async def run():
        queue = make_queue(fail_once)
        failed = await asyncio.gather(queue.run([1], "a"), queue.run([2], "a"), return_exceptions=True)
        return failed, await queue.run([3], "a")

    failed, after = asyncio.run(run())
    assert [type(error) for error in failed] == [MemoryError] * 2
    assert after[0].result == 3


def test_several_batches_run_at_once_if_there_are_several_threads():
    process = threading.Barrier(2)  # which is passed only by two at once

    async def run():
        queue = make_queue(lambda items: [process.wait() >= 0 for _ in items], threads=2)
        await asyncio.gather(queue.run([1], "a"), queue.run([2], "b"))

    asyncio.run(run())


def test_the_deadline_of_a_batch_passes_when_all_deadlines_have_passed():
    deadlines = [Deadline(), Deadline()]
    together = BatchDeadline(deadlines)
    together.check()
    deadlines[0].cancel()
    together.check()
    deadlines[1].cancel()
    with pytest.raises(SearchTimeout):
        together.check()

"""A queue whose items are processed in threads, together with others of the same kind that wait at the same time."""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from genir.decoding.deadline import Deadline
from genir.errors import GenirError, SearchTimeout

Item = TypeVar("Item")
Result = TypeVar("Result")


_RECENT = 0.2
"""Weight of the last batch in the recent time that an item takes."""


class Overloaded(GenirError):
    """As many requests as are allowed are waiting already; retry_after: whole seconds until there should be room."""

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class BatchDeadline(Deadline):
    """The deadline of several searches that run together: it passes when those of all of them have passed."""

    def __init__(self, deadlines: Sequence[Deadline]) -> None:
        super().__init__()
        self._deadlines = deadlines

    def check(self) -> None:
        """Raise SearchTimeout if every deadline has passed or was cancelled."""
        for deadline in self._deadlines:
            try:
                return deadline.check()
            except SearchTimeout as error:
                passed = error
        raise passed


class Done(NamedTuple, Generic[Result]):
    """A result, the seconds that its item waited, and the seconds that its batch then took."""

    result: Result
    queued: float
    taken: float


class _Entry(Generic[Item, Result]):
    """An item that waits, what it may be processed together with, and the future of its result."""

    def __init__(self, item: Item, key: Hashable, future: "asyncio.Future[Done[Result]]") -> None:
        self.item, self.key, self.future = item, key, future
        self.since = time.monotonic()


class BatchQueue(Generic[Item, Result]):
    """Processes items in threads: each batch holds the item that has waited longest, and others with the same key.

    process: returns a result or an exception for each item of a batch. threads: batches that are processed at once.
    max_batch: the most items of a batch. max_wait: seconds that a batch waits for more items; it waits only if the one
    before held several items, so that a client that is alone loses no time. max_queue: items that may wait. on_length:
    called with the number of waiting items when that changes. on_batch: called with the size of each batch.

    All methods are called in the thread of one event loop.
    """

    def __init__(
        self,
        process: Callable[[list[Item]], Sequence[Result | Exception]],
        threads: int,
        max_batch: int,
        max_wait: float,
        max_queue: int,
        on_length: Callable[[int], None] = lambda length: None,
        on_batch: Callable[[int], None] = lambda size: None,
    ) -> None:
        self._process, self._count = process, threads
        self._max_batch, self._max_wait, self._max_queue = max_batch, max_wait, max_queue
        self._on_length, self._on_batch = on_length, on_batch
        self._threads = ThreadPoolExecutor(threads)
        self._waiting = deque[_Entry[Item, Result]]()
        self._workers = 0
        self._tasks = set[asyncio.Task[None]]()
        self._last_size = 1
        self._seconds_per_item = 0.0
        self._is_full = asyncio.Event()

    async def run(self, items: Sequence[Item], key: Hashable) -> list[Done[Result]]:
        """Process some items, and return their results in the same order.

        key: items with equal keys may be in one batch; None means that each of these is processed alone. Raises
        Overloaded if there is no room for all of them, and the exception of the first item that has one. Items that
        still wait when this call is cancelled are never processed.
        """
        if len(self._waiting) + len(items) > self._max_queue:
            seconds = self.estimate_wait()
            raise Overloaded(f"{len(self._waiting)} queries are waiting already; try again in {seconds} s", seconds)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[Done[Result]]] = [loop.create_future() for _ in items]
        for item, future in zip(items, futures, strict=True):
            self._waiting.append(_Entry(item, object() if key is None else key, future))
        self._wake()
        try:
            return list(await asyncio.gather(*futures))
        finally:
            for future in futures:
                future.cancel()  # without effect if it is done
            if any(future.cancelled() for future in futures):
                self._waiting = deque(entry for entry in self._waiting if not entry.future.done())
                self._on_length(len(self._waiting))

    def estimate_wait(self) -> int:
        """The whole seconds after which those that wait should be done, by the recent time per item; at least 1."""
        return max(1, math.ceil(len(self._waiting) * self._seconds_per_item / self._count))

    def _wake(self) -> None:
        """Start to process batches if fewer than the allowed number are being processed."""
        self._on_length(len(self._waiting))
        if len(self._waiting) >= self._max_batch:
            self._is_full.set()
        if self._workers < self._count:
            self._workers += 1
            task = asyncio.ensure_future(self._drain())
            self._tasks.add(task)  # the event loop itself keeps only a weak reference
            task.add_done_callback(self._tasks.discard)

    async def _drain(self) -> None:
        """Process batches until no item waits."""
        try:
            while self._waiting:
                if self._last_size > 1 and len(self._waiting) < self._max_batch:
                    self._is_full.clear()
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._is_full.wait(), self._max_wait)
                batch = self._take_batch()
                if batch:
                    await self._run_batch(batch)
        finally:
            self._workers -= 1  # now, and not in a callback, before which another item might arrive

    def _take_batch(self) -> list[_Entry[Item, Result]]:
        """Take the next item and those with its key from the queue; none if another thread has taken all."""
        batch: list[_Entry[Item, Result]] = []
        rest = deque[_Entry[Item, Result]]()
        for entry in self._waiting:
            fits = not batch or (entry.key == batch[0].key and len(batch) < self._max_batch)
            (batch if fits else rest).append(entry)
        self._waiting = rest
        self._on_length(len(rest))
        return batch

    async def _run_batch(self, batch: list[_Entry[Item, Result]]) -> None:
        """Process a batch in a thread, and hand out the results."""
        self._last_size = len(batch)
        self._on_batch(len(batch))
        start = time.monotonic()
        found: Sequence[Result | Exception]
        try:
            items = [entry.item for entry in batch]
            found = await asyncio.get_running_loop().run_in_executor(self._threads, self._process, items)
        except Exception as error:
            found = [error] * len(batch)
        taken = time.monotonic() - start
        per_item = taken / len(batch)
        self._seconds_per_item += (_RECENT if self._seconds_per_item else 1) * (per_item - self._seconds_per_item)
        for entry, result in zip(batch, found, strict=True):
            if entry.future.done():
                continue
            if isinstance(result, Exception):
                entry.future.set_exception(result)
            else:
                entry.future.set_result(Done(result, start - entry.since, taken))

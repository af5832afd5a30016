"""Where everything for the eye is printed, and progress bars with the time left."""

import contextlib
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """A progress display: what, bar, share, count, time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=errors,
        transient=True,
        disable=not errors.is_terminal,
    )


def track(items: Iterable[T], description: str, total: int | None = None) -> Iterator[T]:
    """Yield the items under a progress bar on stderr; without a terminal nothing is drawn."""
    if total is None and isinstance(items, Sized):
        total = len(items)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress())
        task = bar.add_task(description, total=total, note="")
        for item in items:
            yield item
            bar.advance(task)

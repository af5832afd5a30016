"""Console output and progress bars.

Results are printed with `console` (stdout); errors and progress bars go to `errors` (stderr).
"""

import contextlib
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

T = TypeVar("T")
console = Console(highlight=False, soft_wrap=True)
errors = Console(stderr=True, highlight=False, soft_wrap=True)


def progress() -> Progress:
    """Create a progress display on stderr: description, bar, percentage, count, time left and note of each task.

    Each task needs the field `note`, a text at the end of its line. Nothing is drawn if stderr is not a terminal.
    """
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
    """Yield the items while a progress bar on stderr counts them.

    total: number of items; by default their len(), if they have one. Nothing is drawn if stderr is not a terminal.
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with contextlib.ExitStack() as stack:
        bar = stack.enter_context(progress())
        task = bar.add_task(description, total=total, note="")
        for item in items:
            yield item
            bar.advance(task)

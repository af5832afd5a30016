"""Console output and progress bars.

Results are printed with `console` (stdout); errors and progress bars go to `errors` (stderr). Of the processes of a job
only the main one prints. Both show texts as they are: square brackets are no markup unless markup=True is given, and
control characters are escaped.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sized
from typing import Any, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from genir.errors import make_printable
from genir.processes import is_main_process

T = TypeVar("T")


class PlainConsole(Console):
    """A console that shows titles, queries, ids and paths as text, whatever characters they contain."""

    def __init__(self, **options: Any) -> None:
        super().__init__(highlight=False, soft_wrap=True, markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """Convert a string that is printed, or that is the cell or title of a table, to rich's own text."""
        return super().render_str(make_printable(text, keep="\n\t"), **options)


console = PlainConsole(quiet=not is_main_process())
errors = PlainConsole(stderr=True, quiet=not is_main_process())


def print_note(message: str) -> None:
    """Print something that the user may want to know."""
    _print_labelled("note", message)


def print_warning(message: str) -> None:
    """Print something that the user should know, since it may make results wrong or worse."""
    _print_labelled("warning", message)


def _print_labelled(label: str, message: str) -> None:
    console.print(Text.assemble((f"{label}:", "yellow"), " ", console.render_str(message)))


def progress() -> Progress:
    """Create a progress display on stderr: description, bar, percentage, count, time left and note of each task.

    Each task needs the field `note`, a text at the end of its line. Nothing is drawn if stderr is not a terminal.
    """
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
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

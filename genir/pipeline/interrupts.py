"""Interrupts: Ctrl-C and SIGTERM end a program with one line on stderr and the exit status 130 or 143.

A signal raises `Interrupted`, so that temporary files are removed and progress bars are closed. During an import it
ends the process at once instead: there is nothing to clean up, and extension modules turn an exception that is raised
while they are imported into another one. This module imports nothing large, because the programs import it first.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import Any, NoReturn

_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_REPEATED_SECONDS = 1.0
"""Signals within this time after the first one are ignored: `timeout` and other wrappers send theirs twice. A later one
ends the process at once.
"""


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM in a program that calls `handle_signals`. Notes that are added to it are printed.

    It is no KeyboardInterrupt, because typer catches those and exits with status 130, whatever the signal was.
    """

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(_WORDS[number])
        self.status = 128 + number

    def end_process(self) -> NoReturn:
        """Print the line and end the process at once, without the exit functions of libraries, which may take long."""
        _write_line("; ".join([str(self), *getattr(self, "__notes__", [])]))
        os._exit(self.status)


class _State:
    """The first signal that this process received, as the exception that it raised, and when that was.

    process: the id of the process that called `handle_signals`, which those that it forks are not.
    """

    process = 0
    received: Interrupted | None = None
    received_at = 0.0
    is_reported = False


def handle_signals() -> None:
    """Let Ctrl-C and SIGTERM end this process as described above; call it before large libraries are imported.

    A signal that the parent process ignores, as a shell does for commands in the background, stays ignored.
    """
    sys.excepthook, sys.unraisablehook = _report_uncaught, _report_unraisable
    _State.process = os.getpid()
    with suppress(ValueError):  # raised in all threads but the main one
        for number in _WORDS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _handle)


def _handle(number: int, frame: FrameType | None) -> None:
    """Handle a signal: raise `Interrupted`, or end the process at once during an import and if it is ending already.

    Forked processes ignore Ctrl-C, which the terminal sends to them too: the process that forked them ends them.
    """
    if os.getpid() != _State.process:
        if number == signal.SIGINT:
            return
        os._exit(128 + number)
    if _State.received is not None:
        if time.monotonic() - _State.received_at > _REPEATED_SECONDS:
            _State.received.end_process()
        return
    _State.received, _State.received_at = Interrupted(signal.Signals(number)), time.monotonic()
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _State.received.end_process()
        frame = frame.f_back
    raise _State.received


def _report_uncaught(kind: type[BaseException], error: BaseException, traceback: Any) -> None:
    """Replace sys.excepthook: an exception after a signal comes from it, even if a library has changed its type."""
    if _State.received is not None:
        with suppress(Exception):  # a pipe whose reader has ended too
            sys.stdout.flush()
        _State.received.end_process()
    sys.__excepthook__(kind, error, traceback)


def _report_unraisable(unraisable: Any) -> None:
    """Replace sys.unraisablehook: if `Interrupted` was raised where Python ignores exceptions, end the process."""
    if isinstance(unraisable.exc_value, Interrupted):
        unraisable.exc_value.end_process()
    sys.__unraisablehook__(unraisable)


def mark_reported() -> None:
    """Print no line about a later signal, because an error that ends the process has been printed."""
    _State.is_reported = True


def _write_line(line: str) -> None:
    """Write a line to stderr once in the life of the process, without buffers, which a signal handler must not use.

    Of the processes of a job (`genir.processes`), only the first one writes it.
    """
    if not _State.is_reported and os.environ.get("RANK", "0") == "0":
        _State.is_reported = True
        with suppress(OSError):
            start = "\n" if os.isatty(2) else ""  # the terminal has printed ^C
            os.write(2, f"{start}{line}\n".encode(errors="replace"))

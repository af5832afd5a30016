"""Counts the file operations of a process with an audit hook, and kills the process at one of them."""

import os
import signal
import sys
from pathlib import Path
from typing import Any, NoReturn

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
CHANGES = {"os.chmod", "os.link", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.symlink", "os.truncate"}
"""Audit events of functions that change the file system; `os.rename` covers os.replace, `os.remove` os.unlink."""


def watch_operations(folder: Path, log: Path, kill_at: int | None = None, kill_before: str = "") -> None:
    """Write the kind of every operation that changes something below `folder` to the file `log`, from now on.

    These are opening a file for writing, and the events of CHANGES. kill_at: the number, from 1, of the operation at
    which this process is killed, before the operation takes place. kill_before: it is killed before the first operation
    on a path that contains this text. The hook cannot be removed, so call this only in a child process. Libraries that
    write files without Python's functions, such as safetensors, are not seen, but the operations around theirs are.
    """
    root = folder.resolve()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event == "open":
            path, _, flags = arguments
            if not isinstance(flags, int) or not flags & WRITES:
                return
        elif event in CHANGES:
            path = arguments[0]
        else:
            return
        if isinstance(path, int) or not _is_below(root, path, arguments):
            return
        count += 1
        os.write(descriptor, f"{event}\n".encode())
        if count == kill_at or (kill_before and kill_before in os.fsdecode(path)):
            _kill_this_process()

    sys.addaudithook(hook)


def _is_below(root: Path, path: Any, arguments: tuple[Any, ...]) -> bool:
    """Whether an operation concerns a path below `root`; a path may be relative to the folder of a descriptor."""
    found = Path(os.fsdecode(path))
    descriptors = [argument for argument in arguments[1:] if isinstance(argument, int) and argument > 2]
    if not found.is_absolute() and descriptors and (there := Path(f"/proc/self/fd/{descriptors[-1]}")).is_dir():
        found = there.readlink() / found
    return Path.cwd().joinpath(found).parent.resolve().is_relative_to(root)


def _kill_this_process() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("a process survived SIGKILL")

"""Temporary files and folders that replace others when they are complete, and the removal of those of killed processes.

The temporary file or folder of NAME is .NAME.TOKEN.tmp beside it, with a random token, so that no other process and no
earlier one, whose process id may return in a container, has the same. The process that writes it holds a lock on it,
which the operating system releases when the process ends, however it ends: what is not locked is a leftover.
"""

import ctypes
import errno
import fcntl
import os
import re
import secrets
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_LEFTOVER = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{16}\.(?P<kind>tmp|old)", re.DOTALL)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def temporary_path(path: Path, is_folder: bool) -> Iterator[Path]:
    """Create an empty temporary file or folder beside `path`, lock it, and delete it afterwards if it is still there.

    Missing parent folders are created. Leftovers of killed processes are deleted first.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, path.name)
    temporary, descriptor = _create_locked(path, is_folder)
    try:
        yield temporary
    finally:
        with suppress(OSError):
            _delete(temporary)
        os.close(descriptor)


def _create_locked(path: Path, is_folder: bool) -> tuple[Path, int]:
    """Create a temporary file or folder; return its path, and the open file descriptor that holds the lock on it."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        if is_folder:
            temporary.mkdir()
        else:
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
        with suppress(FileNotFoundError):
            descriptor = os.open(temporary, os.O_RDONLY)
            if _lock(descriptor) and os.path.lexists(temporary):
                return temporary, descriptor
            os.close(descriptor)  # another process took it for a leftover before it was locked


def _lock(descriptor: int) -> bool:
    """Lock an open file or folder; False if another process has locked it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have no locks
        pass
    return True


def replace_folder(temporary: Path, path: Path) -> None:
    """Rename the folder `temporary` to `path`; what was there is deleted now, or takes its name.

    The two folders change places in one step where the operating system and the file system can do that. Elsewhere the
    old one is first renamed to .NAME.TOKEN.old, from which `restore_replaced` restores it if the process is killed.
    """
    while True:
        if not os.path.lexists(path):
            os.replace(temporary, path)
            return
        if _exchange(temporary, path):  # `temporary_path` deletes the old folder, which now has the temporary name
            return
        old = path.with_name(f".{path.name}.{secrets.token_hex(8)}.old")
        os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                continue  # another process has restored the old folder meanwhile
            os.replace(old, path)
            raise
        with suppress(OSError):
            _delete(old)
        return


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two paths atomically with Linux's renameat2; False where that is not supported."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        rename = ctypes.CDLL(None).renameat2
    except AttributeError:  # a C library without it
        return False
    return bool(rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0)


def restore_replaced(path: Path) -> None:
    """Restore the old folder if a process was killed between the two renames with which it replaced `path`."""
    if path.name and not os.path.lexists(path):
        remove_leftovers(path.parent, path.name)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Delete the temporary files and folders that killed processes left in `folder`.

    An old folder whose replacement never took its place is renamed back to its place. name: the name of the file or
    folder whose leftovers are meant; None means all.
    """
    with suppress(OSError):
        for path in sorted(folder.iterdir()):
            match = _LEFTOVER.fullmatch(path.name)
            if match is not None and name in (None, match["name"]):
                with suppress(OSError):
                    _remove_leftover(path, folder / match["name"], match["kind"] == "old")


def _remove_leftover(leftover: Path, target: Path, is_old: bool) -> None:
    """Rename an old folder that was not replaced back to `target`; delete any other leftover unless it is locked."""
    if is_old and not os.path.lexists(target):
        os.replace(leftover, target)
        return
    descriptor = os.open(leftover, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # an error if it is locked, or cannot be
        _delete(leftover)
    finally:
        os.close(descriptor)


def remove_folder(folder: Path) -> None:
    """Delete a folder so that it disappears as a whole: a killed process leaves all of it, or a leftover."""
    doomed = folder.with_name(f".{folder.name}.{secrets.token_hex(8)}.tmp")
    with suppress(FileNotFoundError):
        os.replace(folder, doomed)
        _delete(doomed)


def _delete(path: Path) -> None:
    """Delete a file, a symbolic link (not its target) or a folder; nothing happens if there is none."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

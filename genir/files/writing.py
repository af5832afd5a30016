"""Atomic writing of files and folders, locks on folders, and one-line errors for disks that are full or read-only."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from genir.errors import GenirError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def explain_os_errors(path: Path) -> Iterator[None]:
    """Turn the error of a failed write to `path`, such as a full disk, into a GenirError that names the path.

    Errors with other causes are raised unchanged.
    """
    try:
        yield
    except GenirError:
        raise
    except Exception as error:
        number = _find_errno(error)
        if number is None:
            raise
        reason = os.strerror(number)
        if number in _FULL:
            raise GenirError(f"{path}: no space left on the disk; free some space and run the command again") from error
        if number in _FORBIDDEN:
            raise GenirError(f"{path}: cannot write here ({reason}); choose another folder") from error
        if number in {errno.ENOTDIR, errno.EEXIST}:
            raise GenirError(f"{path}: a file is in the place of a folder; move the file away") from error
        if not path.parent.exists():
            raise GenirError(f"{path.parent}: this folder cannot be created ({reason}); choose another") from error
        raise


def _find_errno(error: Exception) -> int | None:
    """Find the errno of a failed write; None for an error with another cause.

    safetensors and tokenizers raise errors of their own, whose message holds the errno. torch.save on a full disk only
    reports that its position in the file is not what it expected, which is taken as a full disk.
    """
    if isinstance(error, OSError):
        return error.errno
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    full = isinstance(error, RuntimeError) and re.search("inline_container.*unexpected pos|iostream error", str(error))
    return errno.ENOSPC if full else None


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Write a file whole or not at all: yield a temporary file beside `path`, which replaces `path` on success.

    The temporary file is flushed to disk before it is renamed, and deleted if an exception is raised. Text is written
    as UTF-8 with LF line ends. Missing parent folders are created.

    Raises GenirError if the disk is full, or if the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else "\n"
    with explain_os_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, mode, encoding=encoding, newline=newline) as handle:
                created = os.fstat(handle.fileno()).st_mode
                yield handle
            _fsync_with_mode(temporary, created)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: yield a temporary folder beside `path`, which replaces `path` on success.

    All files are flushed to disk before the folder is renamed; the temporary folder is deleted if an exception is
    raised. Temporary folders of processes that no longer run are deleted first.

    Raises GenirError if the disk is full, if the parent folder cannot be written to, or if `path` is a file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    with explain_os_errors(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        _remove_stale(path)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _fsync_with_mode(file, temporary.stat().st_mode)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)  # not reached if a rename failed, when `old` may be the only copy
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(path: Path) -> None:
    """Delete the temporary folders that killed processes left beside `path`; a collection's can take 20 GB."""
    for stale in path.parent.glob(f".{path.name}.*.tmp"):
        process = stale.name.split(".")[-2]
        if process == str(os.getpid()) or (process.isdigit() and not _is_alive(int(process))):
            shutil.rmtree(stale, ignore_errors=True)


def _is_alive(process: int) -> bool:
    """Whether a process with this id exists, whichever user it belongs to."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _fsync_with_mode(file: Path, mode: int) -> None:
    """Flush a file to disk and give it the read and write permissions of `mode`.

    safetensors creates files that only their owner may read. `mode` is that of a file or folder which was created
    nearby and follows the umask. The targets of symbolic links keep their permissions.
    """
    if not file.is_symlink() and (file.stat().st_mode ^ mode) & 0o666:
        with suppress(PermissionError):  # some file systems have no permissions
            file.chmod(mode & 0o666)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a lock on `folder`, which is created if needed, so that no other genir process uses the folder.

    The operating system releases the lock when the process ends, even if it is killed.

    Raises GenirError immediately if another process holds the lock.
    """
    lock = FileLock(folder / ".lock", timeout=0)
    with explain_os_errors(folder / ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise GenirError(f"{folder}: another process is using this folder; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def require_space(folder: Path, needed: int) -> None:
    """Raise GenirError unless the disk that holds `folder` has `needed` bytes free; the folder need not exist yet."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise GenirError(
            f"{folder}: {needed / 1e6:,.0f} MB are needed, but only {free / 1e6:,.0f} MB are free; "
            "free some space, or choose another disk with runs_dir=PATH"
        )


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON in UTF-8, atomically."""
    with atomic_file(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)
        handle.write("\n")

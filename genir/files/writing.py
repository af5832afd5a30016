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
from genir.files.temporary import replace_folder, temporary_path

_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_BROKEN = {errno.EIO, errno.ENAMETOOLONG, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.ELOOP, errno.EISDIR}


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
        if number in _BROKEN:
            raise GenirError(f"{path}: cannot be written ({reason})") from error
        if not path.parent.exists():
            raise GenirError(f"{path.parent}: this folder cannot be created ({reason}); choose another") from error
        raise


def _find_errno(error: Exception) -> int | None:
    """Find the errno of a failed write; None for an error with another cause.

    safetensors and tokenizers raise errors of their own, whose message holds the errno, and so does shutil.copytree.
    torch.save on a full disk only reports that its position in the file is not what it expected, which is taken as a
    full disk.
    """
    if isinstance(error, shutil.Error):
        copied = re.search(r"\[Errno (\d+)\]", str(error))
        return int(copied[1]) if copied else None
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
    as UTF-8 with LF line ends. Missing parent folders are created. Temporary files that killed processes left beside
    `path` are deleted first.

    Raises GenirError if the disk is full, or if the folder cannot be written to.
    """
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else "\n"
    with explain_os_errors(path), temporary_path(path, is_folder=False) as temporary:
        with open(temporary, mode, encoding=encoding, newline=newline) as handle:
            created = os.fstat(handle.fileno()).st_mode
            yield handle
        _fsync_with_mode(temporary, created)
        os.replace(temporary, path)
        _fsync(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Write a folder whole or not at all: yield a temporary folder beside `path`, which replaces `path` on success.

    All files are flushed to disk before the folder is renamed; the temporary folder is deleted if an exception is
    raised. Temporary folders that killed processes left beside `path`, of which a collection's can take 20 GB, are
    deleted first.

    Raises GenirError if the disk is full, if the parent folder cannot be written to, or if `path` is a file.
    """
    with explain_os_errors(path):
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with temporary_path(path, is_folder=True) as temporary:
            yield temporary
            mode = temporary.stat().st_mode
            for file in temporary.rglob("*"):
                if file.is_file():
                    _fsync_with_mode(file, mode)
            replace_folder(temporary, path)
            _fsync(path.parent)


def _fsync_with_mode(file: Path, mode: int) -> None:
    """Flush a file to disk and give it the read and write permissions of `mode`.

    safetensors creates files that only their owner may read. `mode` is that of a file or folder which was created
    nearby and follows the umask. The targets of symbolic links keep their permissions.
    """
    if not file.is_symlink() and (file.stat().st_mode ^ mode) & 0o666:
        with suppress(PermissionError):  # some file systems have no permissions
            file.chmod(mode & 0o666)
    _fsync(file)


def _fsync(path: Path) -> None:
    """Flush a file to disk, or the names of the files in a folder."""
    descriptor = os.open(path, os.O_RDONLY)
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

"""Files and folders that are written whole or not at all."""

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

_SPACE = {errno.ENOSPC, errno.EDQUOT}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}


@contextmanager
def clear_os_errors(path: Path) -> Iterator[None]:
    """Turn a full disk or a forbidden folder into one line that names it."""
    try:
        yield
    except GenirError:
        raise
    except Exception as error:
        number = _os_error(error)
        if number is None:
            raise
        reason = os.strerror(number)
        if number in _SPACE:
            raise GenirError(f"{path}: no space left on the disk; free some and run the same command again") from error
        if number in _DENIED:
            raise GenirError(f"{path}: cannot write here ({reason}); choose another folder") from error
        if number in {errno.ENOTDIR, errno.EEXIST}:
            raise GenirError(f"{path}: a file stands where a folder is needed; move it away") from error
        if not path.parent.exists():
            raise GenirError(f"{path.parent}: this folder cannot be made ({reason}); choose another") from error
        raise


def _os_error(error: Exception) -> int | None:
    """The errno of a failed write, also of safetensors and tokenizers, which only print it.

    torch says no more than that bytes which it wrote are not there: the disk is full.
    """
    if isinstance(error, OSError):
        return error.errno
    if found := re.search(r"\(os error (\d+)\)", str(error)):
        return int(found[1])
    lost = isinstance(error, RuntimeError) and re.search("inline_container.*unexpected pos|iostream error", str(error))
    return errno.ENOSPC if lost else None


@contextmanager
def atomic_file(path: Path, mode: str = "w") -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on success flush it to disk and rename it to `path`, else delete it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    encoding = None if "b" in mode else "utf-8"
    newline = None if "b" in mode else "\n"
    with clear_os_errors(path):
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
    """Fill a temporary folder beside `path`; on success it takes the place of `path`, else it is deleted."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    with clear_os_errors(path):
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
            shutil.rmtree(old, ignore_errors=True)  # not where the line before failed: it is the only one then
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _remove_stale(path: Path) -> None:
    """Delete the temporary folders beside `path` that killed processes left: a collection's can be 20 GB."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        process = left.name.split(".")[-2]
        if process == str(os.getpid()) or (process.isdigit() and not _is_alive(int(process))):
            shutil.rmtree(left, ignore_errors=True)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _fsync_with_mode(file: Path, mode: int) -> None:
    """Flush a file to disk, and let those read it whom `mode` lets: safetensors writes for the owner alone."""
    if not file.is_symlink() and (file.stat().st_mode ^ mode) & 0o666:
        with suppress(PermissionError):  # some file systems have no modes
            file.chmod(mode & 0o666)
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into `folder`; the lock falls when this process ends, however it ends."""
    lock = FileLock(folder / ".lock", timeout=0)
    with clear_os_errors(folder / ".lock"):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout:
            raise GenirError(f"{folder}: another process is at work in this folder; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def require_space(folder: Path, needed: int) -> None:
    """Raise unless the disk under `folder` has `needed` bytes free."""
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise GenirError(
            f"{folder}: {needed / 1e6:,.0f} MB are needed here and {free / 1e6:,.0f} MB are free; "
            "free some space or put the run elsewhere with runs_dir=PATH"
        )


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_file(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)
        handle.write("\n")

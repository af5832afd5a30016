"""Files and folders that are written whole or not at all, read line by line, and known by their hash."""

import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from genir.errors import GenirError, at

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
            _settle(temporary, created)
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
        _sweep(path)
        temporary.mkdir(parents=True)
        try:
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _settle(file, temporary.stat().st_mode)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)  # not where the line before failed: it is the only one then
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sweep(path: Path) -> None:
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


def _settle(file: Path, mode: int) -> None:
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
def sole_user(folder: Path) -> Iterator[None]:
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
            "free some space or put the run elsewhere with folder=PATH"
        )


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Lines of a UTF-8 text file, gzip or not, with their number from 1; line ends (LF or CRLF) removed.

    FOLDER/NAME.tar.gz/MEMBER and FOLDER/NAME.zip/PLACE/MEMBER read a file inside an archive, without unpacking it.
    """
    number = 0
    try:
        with _opened(path) as handle:
            for raw in handle:
                number += 1
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror}); give a file that can") from None
    except UnicodeDecodeError as error:
        raise at(path, number, f"not UTF-8 text ({error.reason}); convert the file to UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.ReadError, zipfile.BadZipFile) as error:
        raise at(
            path, number + 1, f"the {_kind(path)} file is damaged or cut short ({error}); fetch it again"
        ) from error


def _kind(path: Path) -> str:
    return "zip" if any(parent.suffix == ".zip" for parent in path.parents) else "gzip"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The bytes of a file, unpacked."""
    if path.parent.name.endswith(".tar.gz"):
        with tarfile.open(path.parent, "r|gz") as archive:
            for entry in archive:
                if PurePosixPath(entry.name).name == path.name and (member := archive.extractfile(entry)):
                    yield member
                    return
        raise GenirError(f"{path.parent}: there is no {path.name} in this archive")
    for archive_path in path.parents:
        if archive_path.suffix == ".zip" and archive_path.is_file():
            with zipfile.ZipFile(archive_path) as zipped, zipped.open(str(path.relative_to(archive_path))) as handle:
                yield handle
            return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
        yield cast(IO[bytes], handle)


def shipped(name: str) -> Path:
    """A file of the repository that is not imported (a program, a config, a list of data), in a checkout or a wheel."""
    here = Path(__file__).resolve().parent
    installed = here / "stages" / name
    return installed if installed.exists() else here.parent / name


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, whole or not at all."""
    with atomic_file(path) as handle:
        json.dump(value, handle, indent=2, ensure_ascii=False)
        handle.write("\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or malformed one is a clear error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise at(path, error.lineno, f"not valid JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise GenirError(f"{path}: not UTF-8 text ({error.reason})") from None


@contextmanager
def intact(path: Path) -> Iterator[Path]:
    """Turn what reading `path`, a file that genir wrote, raises where it is missing or damaged into one clear line."""
    try:
        yield path
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file; copy the folder again, whole, or make it anew") from None
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise GenirError(f"{path}: damaged ({error!r}); copy the folder again, or make it anew") from error


def content_hash(path: Path, seen: dict[str, Any] | None = None) -> str:
    """sha256 of a file, or of a folder's file names and contents.

    `seen` remembers digests by path, size and time of change, so that large files are not read at every start.
    """
    if path.is_dir():
        digest = hashlib.sha256()
        for file in sorted(p for p in path.rglob("*") if p.is_file()):
            digest.update(f"{file.relative_to(path)}\0{content_hash(file, seen)}\n".encode())
        return digest.hexdigest()
    stat = path.stat()
    key = str(path.resolve())
    stamp = [stat.st_size, stat.st_mtime_ns]
    known = None if seen is None else seen.get(key)
    if known and known[:2] == stamp:
        return str(known[2])
    with open(path, "rb") as handle:
        value = hashlib.file_digest(handle, "sha256").hexdigest()
    if seen is not None:
        seen[key] = [*stamp, value]
    return value

"""Reading text files line by line and JSON files, with one-line errors for missing and damaged ones."""

import gzip
import io
import json
import stat
import tarfile
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from safetensors import SafetensorError

from genir.errors import GenirError, error_at, quote

MAX_LINE_BYTES = 100_000_000
"""Longest line that is read. Lines of published collections have less than 2 MB; a longer one would fill the memory."""


def numbered_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the lines of a UTF-8 text file with their numbers from 1, without line ends (LF, CRLF) and byte order mark.

    A file whose name ends in .gz is decompressed. Paths such as FOLDER/NAME.tar.gz/MEMBER and
    FOLDER/NAME.zip/SUBFOLDER/MEMBER read a file inside an archive, without unpacking the archive.

    Raises GenirError for a file that cannot be opened, is damaged or truncated, is not UTF-8, or has a line of more
    than MAX_LINE_BYTES.
    """
    number = 0
    try:
        with _open_decompressed(path) as handle:
            for raw in iter(partial(handle.readline, MAX_LINE_BYTES + 1), b""):
                number += 1
                if len(raw) > MAX_LINE_BYTES:
                    raise error_at(
                        path, number, f"the line is longer than {MAX_LINE_BYTES:,} bytes; does the file have line ends?"
                    )
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise error_at(path, number, f"not UTF-8 text ({error.reason}); convert the file to UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.ReadError, zipfile.BadZipFile) as error:
        raise error_at(
            path, number + 1, f"the {_compression(path)} file is damaged or truncated ({error}); download it again"
        ) from error
    except (OSError, NotImplementedError, RuntimeError) as error:  # zipfile: an unknown compression; an encrypted file
        reason = getattr(error, "strerror", None) or error
        raise GenirError(f"{path}: cannot be read ({reason}); give the path of a readable file") from None


def _compression(path: Path) -> str:
    """The format of a compressed file, for error messages: a .tar.gz archive counts as gzip."""
    return "zip" if any(parent.suffix == ".zip" for parent in path.parents) else "gzip"


@contextmanager
def _open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or a file inside an archive, to read its decompressed bytes."""
    if path.parent.name.endswith(".tar.gz"):
        require_regular_file(path.parent)
        with tarfile.open(path.parent, "r|gz") as archive:
            for entry in archive:
                if PurePosixPath(entry.name).name == path.name and (member := archive.extractfile(entry)):
                    yield member
                    return
        raise GenirError(f"{path.parent}: the archive has no file {path.name}; check that it is the right one")
    for archive_path in path.parents:
        if archive_path.suffix == ".zip" and archive_path.is_file():
            name = path.relative_to(archive_path).as_posix()
            with zipfile.ZipFile(archive_path) as zipped:
                if name not in zipped.namelist():
                    raise GenirError(f"{archive_path}: the archive has no file {name}; check that it is the right one")
                with zipped.open(name) as handle:
                    yield cast(IO[bytes], io.BufferedReader(cast(io.RawIOBase, handle)))  # many times faster
            return
    require_regular_file(path)
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
        yield cast(IO[bytes], handle)


def require_regular_file(path: Path) -> None:
    """Raise GenirError if a path is a folder, a pipe or a device, which would be read for ever, or not at all.

    Raises OSError if there is nothing at the path, or if it cannot be accessed.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        kind = "folder" if path.is_dir() else "pipe or a device"
        raise GenirError(f"{path}: cannot be read (it is a {kind}); give the path of a readable file")


def list_folder(folder: Path) -> list[str]:
    """Return the sorted names of the files and folders in a folder, none if it does not exist.

    Raises GenirError if it cannot be listed; `Path.glob` would find nothing in such a folder.
    """
    try:
        return sorted(path.name for path in folder.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise GenirError(f"{folder}: cannot be listed ({error.strerror}); give a folder that you can read") from None


def read_text(path: Path) -> str:
    """Read a UTF-8 text file, without its byte order mark; raise GenirError if it cannot be read or is not UTF-8."""
    try:
        require_regular_file(path)
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file") from None
    except OSError as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror}); give the path of a readable file") from None
    except UnicodeDecodeError as error:
        raise GenirError(f"{path}: not UTF-8 text ({error.reason})") from None


def read_json(path: Path) -> Any:
    """Read a JSON file that genir wrote, which may contain NaN.

    Raises GenirError if it is missing, cannot be read, or is not valid JSON or not UTF-8.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise error_at(path, error.lineno, f"not valid JSON: {_json_problem(error)}") from None
    except (ValueError, RecursionError) as error:
        raise GenirError(f"{path}: {_limit_problem(error)}") from None


def _json_problem(error: json.JSONDecodeError) -> str:
    """Say what is wrong with a JSON text and at which column of the line, counted from 1."""
    return f"{error.msg.removesuffix(' at').removesuffix(' starting')} (column {error.colno})"


@contextmanager
def reading_own_file(path: Path) -> Iterator[Path]:
    """Turn the errors of reading `path`, a file that genir wrote, into a GenirError that names the file.

    genir writes a file completely or not at all. If reading it raises an error such as KeyError or SafetensorError, the
    file must therefore be damaged.
    """
    try:
        yield path
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file; copy the complete folder again, or create it again") from None
    except OSError as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror}); check its permissions and the disk") from None
    except (SafetensorError, LookupError, TypeError, AttributeError, ValueError, RecursionError) as error:
        problem = error if isinstance(error, SafetensorError) else repr(error)
        raise GenirError(f"{path}: damaged ({problem}); copy the folder again, or create it again") from error


class _StrictJsonError(ValueError):
    """JSON that Python's parser accepts, but whose meaning is not certain."""


def _require_unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise _StrictJsonError(f"the key {quote(twice)} is given twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise _StrictJsonError(f"{name} is not a number")


_STRICT_DECODER = json.JSONDecoder(object_pairs_hook=_require_unique_keys, parse_constant=_refuse_constant)


def parse_strict_json(text: str) -> Any:
    """Parse JSON; raise ValueError also for NaN and Infinity, keys given twice, and what the parser has no room for."""
    try:
        return _STRICT_DECODER.decode(text)
    except (json.JSONDecodeError, _StrictJsonError):
        raise
    except (ValueError, RecursionError) as error:
        raise _StrictJsonError(_limit_problem(error)) from None


def parse_json_line(text: str, path: Path, line: int) -> Any:
    """Parse one line of a JSON Lines file; `path` and `line` (counted from 1) are named in errors.

    Raises GenirError if the line is not valid JSON, contains NaN or Infinity, gives a key of an object twice, or
    exceeds the limits of Python's parser.
    """
    try:
        return _STRICT_DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise error_at(path, line, f"not valid JSON: {_json_problem(error)}") from None
    except _StrictJsonError as error:
        raise error_at(path, line, f"not valid JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise error_at(path, line, _limit_problem(error)) from None


def _limit_problem(error: Exception) -> str:
    """Say which limit a JSON text exceeds: a number with thousands of digits, or brackets nested thousands deep."""
    return f"JSON that exceeds the limits of Python's parser: {str(error).split(';')[0]}"

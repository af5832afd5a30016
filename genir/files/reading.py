"""Text files read line by line, JSON files, and clear errors for damaged files."""

import gzip
import json
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from safetensors import SafetensorError

from genir.errors import GenirError, error_at


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
        raise error_at(path, number, f"not UTF-8 text ({error.reason}); convert the file to UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.ReadError, zipfile.BadZipFile) as error:
        raise error_at(
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


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing or malformed one is a clear error."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise error_at(path, error.lineno, f"not valid JSON: {error.msg}") from None
    except UnicodeDecodeError as error:
        raise GenirError(f"{path}: not UTF-8 text ({error.reason})") from None


@contextmanager
def reading_own_file(path: Path) -> Iterator[Path]:
    """Turn what reading `path`, a file that genir wrote, raises where it is missing or damaged into one clear line."""
    try:
        yield path
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file; copy the folder again, whole, or make it anew") from None
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise GenirError(f"{path}: damaged ({error!r}); copy the folder again, or make it anew") from error


def parse_json_line(text: str, path: Path, line: int) -> Any:
    """The value of a line of JSON; what is none, or more than Python reads, raises GenirError."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise error_at(path, line, f"not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits; brackets as deep
        raise error_at(path, line, f"JSON that cannot be read: {str(error).split(';')[0]}") from None

"""Reading text files line by line and JSON files, with one-line errors for missing and damaged ones."""

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
    """The lines of a UTF-8 text file, with their numbers from 1, without line ends (LF or CRLF) and byte order mark.

    A file whose name ends in .gz is decompressed. Paths such as FOLDER/NAME.tar.gz/MEMBER and
    FOLDER/NAME.zip/SUBFOLDER/MEMBER read a file inside an archive, without unpacking the archive.

    Raises GenirError for a file that cannot be opened, is damaged or truncated, or is not UTF-8.
    """
    number = 0
    try:
        with _opened(path) as handle:
            for raw in handle:
                number += 1
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror}); give the path of a readable file") from None
    except UnicodeDecodeError as error:
        raise error_at(path, number, f"not UTF-8 text ({error.reason}); convert the file to UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.ReadError, zipfile.BadZipFile) as error:
        raise error_at(
            path, number + 1, f"the {_kind(path)} file is damaged or truncated ({error}); download it again"
        ) from error


def _kind(path: Path) -> str:
    """The format of a compressed file, for error messages: a .tar.gz archive counts as gzip."""
    return "zip" if any(parent.suffix == ".zip" for parent in path.parents) else "gzip"


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading bytes, decompressed, or a file inside an archive."""
    if path.parent.name.endswith(".tar.gz"):
        with tarfile.open(path.parent, "r|gz") as archive:
            for entry in archive:
                if PurePosixPath(entry.name).name == path.name and (member := archive.extractfile(entry)):
                    yield member
                    return
        raise GenirError(f"{path.parent}: the archive has no file {path.name}; check that it is the right one")
    for archive_path in path.parents:
        if archive_path.suffix == ".zip" and archive_path.is_file():
            with zipfile.ZipFile(archive_path) as zipped, zipped.open(str(path.relative_to(archive_path))) as handle:
                yield handle
            return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
        yield cast(IO[bytes], handle)


def read_json(path: Path) -> Any:
    """The value of a JSON file. Raises GenirError for a file that is missing, not valid JSON, or not UTF-8."""
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
    """Read `path`, a file that genir wrote: errors that only a missing or damaged file can cause become a GenirError.

    Inside this context, library errors such as KeyError or SafetensorError mean that the file is damaged, since genir
    writes files whole; the message says so and names the file.
    """
    try:
        yield path
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file; copy the complete folder again, or create it again") from None
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        raise GenirError(f"{path}: damaged ({error!r}); copy the folder again, or create it again") from error


def parse_json_line(text: str, path: Path, line: int) -> Any:
    """The value of one line of a JSON Lines file; `path` and `line` (from 1) say where it is from.

    Raises GenirError where the line is not valid JSON, or is JSON that exceeds Python's limits.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise error_at(path, line, f"not valid JSON: {error.msg} (column {error.colno})") from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits; brackets nested thousands deep
        raise error_at(path, line, f"JSON beyond what Python can read: {str(error).split(';')[0]}") from None

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
    """Yield the lines of a UTF-8 text file with their numbers from 1, without line ends (LF, CRLF) and byte order mark.

    A file whose name ends in .gz is decompressed. Paths such as FOLDER/NAME.tar.gz/MEMBER and
    FOLDER/NAME.zip/SUBFOLDER/MEMBER read a file inside an archive, without unpacking the archive.

    Raises GenirError for a file that cannot be opened, is damaged or truncated, or is not UTF-8.
    """
    number = 0
    try:
        with _open_decompressed(path) as handle:
            for raw in handle:
                number += 1
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
    except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
        raise GenirError(f"{path}: cannot be read ({error.strerror}); give the path of a readable file") from None
    except UnicodeDecodeError as error:
        raise error_at(path, number, f"not UTF-8 text ({error.reason}); convert the file to UTF-8") from error
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.ReadError, zipfile.BadZipFile) as error:
        raise error_at(
            path, number + 1, f"the {_compression(path)} file is damaged or truncated ({error}); download it again"
        ) from error


def _compression(path: Path) -> str:
    """The format of a compressed file, for error messages: a .tar.gz archive counts as gzip."""
    return "zip" if any(parent.suffix == ".zip" for parent in path.parents) else "gzip"


@contextmanager
def _open_decompressed(path: Path) -> Iterator[IO[bytes]]:
    """Open a file, or a file inside an archive, to read its decompressed bytes."""
    if path.parent.name.endswith(".tar.gz"):
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
                    yield handle
            return
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as handle:
        yield cast(IO[bytes], handle)


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises GenirError if it is missing, not valid JSON, or not UTF-8."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise GenirError(f"{path}: no such file") from None
    except json.JSONDecodeError as error:
        raise error_at(path, error.lineno, f"not valid JSON: {_json_problem(error)}") from None
    except UnicodeDecodeError as error:
        raise GenirError(f"{path}: not UTF-8 text ({error.reason})") from None


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
    except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
        problem = error if isinstance(error, SafetensorError) else repr(error)
        raise GenirError(f"{path}: damaged ({problem}); copy the folder again, or create it again") from error


def parse_json_line(text: str, path: Path, line: int) -> Any:
    """Parse one line of a JSON Lines file; `path` and `line` (counted from 1) are named in errors.

    Raises GenirError if the line is not valid JSON, or exceeds the limits of Python's parser.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise error_at(path, line, f"not valid JSON: {_json_problem(error)}") from None
    except (ValueError, RecursionError) as error:  # a number with thousands of digits; brackets nested thousands deep
        raise error_at(
            path, line, f"JSON that exceeds the limits of Python's parser: {str(error).split(';')[0]}"
        ) from None

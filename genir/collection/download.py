"""Download raw files; an interrupted download is resumed, and a file gets its name only once it is complete.

The bytes received so far are stored in `.NAME.part` beside the final file, so that running the same command again
resumes the download, even after the process was killed.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from genir.collection.sources import RawFile, RawFileGroup, download_name, find_raw_file
from genir.console import console, progress
from genir.errors import GenirError
from genir.files import explain_os_errors, require_space

BLOCK_SIZE = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without receiving a byte
MAX_ATTEMPTS = 5  # consecutive attempts that receive nothing new
PAUSE = 3.0  # seconds before the second of these attempts; the pause doubles with each further one
CONNECTION_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


def fetch_all(group: RawFileGroup, names: Sequence[str], folder: Path) -> None:
    """Download the raw files `names` that are missing in `folder`, and verify those that exist.

    Raises GenirError if a file cannot be downloaded, or if its hash differs from the known one.
    """
    console.print(f"{group.name}: {group.terms}")
    for file in dict.fromkeys(download_name(name) for name in names):
        unpacked = all(find_raw_file(folder, name) for name in names if download_name(name) == file)
        if unpacked and not (folder / file).exists():
            console.print(f"{folder}: already contains the unpacked files of {file}")
        else:
            fetch(group.files[file], folder)


def fetch(file: RawFile, folder: Path) -> Path:
    """Download a file into a folder unless it exists there, check its hash if one is known, and return its path.

    After a broken connection, the download is resumed by an HTTP range request. Raises GenirError after `MAX_ATTEMPTS`
    consecutive attempts that receive nothing new, if the disk is full, and for a wrong hash. A file with a wrong hash
    is deleted if it was just downloaded, never if it existed before.
    """
    path, part = folder / file.name, folder / f".{file.name}.part"
    if path.exists():
        verify_hash(path, file, "move it away to download it again, or leave out --download to use it unchanged")
        console.print(f"{path}: already exists")
        return path
    with explain_os_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        received = _size(part)
        if file.size:
            require_space(folder, max(0, file.size - received))
        _download(file, part)
        try:
            verify_hash(
                part,
                file,
                "it was deleted; run the same command again, and if this repeats, report that the publisher has "
                "changed the file",
            )
        except GenirError:
            part.unlink()
            raise
        os.replace(part, path)
    not_verified = "" if file.hash else ", not verified (its hash is not known)"
    console.print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB{not_verified}")
    return path


def verify_hash(path: Path, file: RawFile, remedy: str) -> None:
    """Raise GenirError if the hash of a file differs from the known one; `remedy` ends the message."""
    if file.hash is None:
        return
    algorithm, expected = file.hash
    with open(path, "rb") as handle:
        actual = hashlib.file_digest(handle, algorithm).hexdigest()
    if actual != expected:
        raise GenirError(
            f"{path}: this is not the published {file.name} ({algorithm} is {actual}, expected {expected}); {remedy}"
        )


def _download(file: RawFile, part: Path) -> None:
    """Download into `part` until it has the length that the server states, and flush it to disk."""
    attempts = MAX_ATTEMPTS
    while attempts:
        before = _size(part)
        try:
            if _request_rest(file, part):
                return
            reason = "the connection was interrupted"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:  # 429: too many requests
                raise GenirError(f"{file.url}: the server answered {error.code} {error.reason}") from None
            reason = f"the server answered {error.code} {error.reason}"
        except CONNECTION_ERRORS as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = _size(part)
        attempts = MAX_ATTEMPTS if after > before else attempts - 1
        if 0 < attempts < MAX_ATTEMPTS:
            time.sleep(PAUSE * 2 ** (MAX_ATTEMPTS - 1 - attempts))
    raise GenirError(f"{file.url}: {reason} after {after:,} bytes; run the same command again to resume")


def _request_rest(file: RawFile, part: Path) -> bool:
    """Request the bytes that are missing in `part` and append them; return whether the file is complete now.

    If the server ignores the requested range and sends the whole file, `part` is overwritten.
    """
    received = _size(part)
    headers = {"User-Agent": "genir", **file.headers, **({"Range": f"bytes={received}-"} if received else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(file.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if received and error.code == 416:  # range not satisfiable: `part` is complete, or the file has changed
            if error.headers.get("Content-Range", "").endswith(f"/{received}"):
                return True
            part.unlink()
            return False
        raise
    with response:
        start = received if response.status == 206 else 0
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else None
        with open(part, "r+b" if start else "wb") as handle, progress() as bar:
            handle.seek(start)
            task = bar.add_task(file.name, total=total, completed=start, note="")
            while block := response.read(BLOCK_SIZE):
                handle.write(block)
                bar.advance(task, len(block))
            handle.flush()
            os.fsync(handle.fileno())
            return total is None or handle.tell() == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

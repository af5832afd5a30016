"""Download raw files: an interrupted download is resumed, and a file gets its name once it is complete and verified.

The bytes received so far are kept in `.NAME.part` beside the final file, so that running the same command again resumes
the download, even after the process was killed.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from genir.collection.sources import Source, SourceGroup, download_name, find_raw_file
from genir.console import console, progress
from genir.errors import GenirError
from genir.files import clear_os_errors, require_space

BLOCK_SIZE = 1 << 20  # bytes
TIMEOUT = 60.0  # seconds without receiving a byte
MAX_ATTEMPTS = 5  # in a row that receive nothing new
PAUSE = 3.0  # seconds before the second of these attempts; it doubles with each further one
CONNECTION_ERRORS = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


def fetch_all(group: SourceGroup, names: Sequence[str], folder: Path) -> None:
    """Download those of the raw files `names` that are missing in `folder`, and verify the others."""
    console.print(f"{group.name}: {group.terms}")
    for file in dict.fromkeys(download_name(name) for name in names):
        unpacked = all(find_raw_file(folder, name) for name in names if download_name(name) == file)
        if unpacked and not (folder / file).exists():
            console.print(f"{folder}: the contents of {file} are already there, unpacked")
        else:
            fetch(group.files[file], folder)


def fetch(source: Source, folder: Path) -> Path:
    """Return FOLDER/NAME, after downloading it if it does not exist. Either way its hash is checked where one is known.

    A broken connection is resumed by HTTP Range requests. Raises GenirError after `MAX_ATTEMPTS` attempts in a row that
    receive nothing new, and for a wrong hash. A wrong hash deletes a file that was just downloaded, never one that
    existed before.
    """
    path, part = folder / source.name, folder / f".{source.name}.part"
    if path.exists():
        verify(path, source, "move it away to download it again, or leave out --download to use it as it is")
        console.print(f"{path}: exists already")
        return path
    with clear_os_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        received = _size(part)
        if source.size:
            require_space(folder, max(0, source.size - received))
        _complete(source, part)
        try:
            verify(
                part,
                source,
                "it was deleted; run the same command again, and if this repeats, report that the publisher has "
                "changed the file",
            )
        except GenirError:
            part.unlink()
            raise
        os.replace(part, path)
    not_verified = "" if source.hash else ", not verified (no known hash)"
    console.print(f"{path}: {path.stat().st_size / 1e6:,.1f} MB{not_verified}")
    return path


def verify(path: Path, source: Source, remedy: str) -> None:
    """Raise GenirError if the hash of a file differs from the known one; `remedy` ends the message."""
    if source.hash is None:
        return
    algorithm, expected = source.hash
    with open(path, "rb") as handle:
        actual = hashlib.file_digest(handle, algorithm).hexdigest()
    if actual != expected:
        raise GenirError(
            f"{path}: not the published {source.name} ({algorithm} is {actual}, expected {expected}); {remedy}"
        )


def _complete(source: Source, part: Path) -> None:
    """Download into `part` until it has the length that the server states, and flush it to disk."""
    attempts = MAX_ATTEMPTS
    while attempts:
        before = _size(part)
        try:
            if _request_rest(source, part):
                return
            reason = "the connection was interrupted"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:  # 429: too many requests at once
                raise GenirError(f"{source.url}: the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except CONNECTION_ERRORS as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = _size(part)
        attempts = MAX_ATTEMPTS if after > before else attempts - 1
        if 0 < attempts < MAX_ATTEMPTS:
            time.sleep(PAUSE * 2 ** (MAX_ATTEMPTS - 1 - attempts))
    raise GenirError(f"{source.url}: {reason} after {after:,} bytes; run the same command again to resume")


def _request_rest(source: Source, part: Path) -> bool:
    """Request the bytes that `part` lacks and append them; return whether the file is complete now.

    If the server ignores the range and sends the whole file, `part` is overwritten from its start.
    """
    received = _size(part)
    headers = {"User-Agent": "genir", **source.headers, **({"Range": f"bytes={received}-"} if received else {})}
    try:
        response = urllib.request.urlopen(urllib.request.Request(source.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if received and error.code == 416:  # range not satisfiable: the file is complete, or the server's has changed
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
            task = bar.add_task(source.name, total=total, completed=start, note="")
            while block := response.read(BLOCK_SIZE):
                handle.write(block)
                bar.advance(task, len(block))
            handle.flush()
            os.fsync(handle.fileno())
            return total is None or handle.tell() == total


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0

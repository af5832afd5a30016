"""Download a file: resumed where it was cut, verified, and in its place only when it is whole.

What has arrived is kept as .NAME.part beside the place, so the same command goes on from there, even after a kill.
"""

import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from genir.collection.sources import Source, SourceGroup, file_of, find
from genir.console import console, progress
from genir.errors import GenirError
from genir.files import clear_os_errors, require_space

BLOCK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte
TRIES = 5  # in a row that bring nothing new
PAUSE = 3.0  # seconds before the second of them; doubled with each
CUT = (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError)


def fetch_all(group: SourceGroup, names: Sequence[str], folder: Path) -> None:
    """Download what is missing of the raw files `names`, and verify the rest."""
    console.print(f"{group.name}: {group.terms}")
    for file in dict.fromkeys(file_of(name) for name in names):
        unpacked = all(find(folder, name) for name in names if file_of(name) == file)
        if unpacked and not (folder / file).exists():
            console.print(f"{folder}: {file} is there already, unpacked")
        else:
            fetch(group.files[file], folder)


def fetch(source: Source, folder: Path) -> Path:
    """FOLDER/NAME, downloaded unless it is there already; either way its hash is checked where one is known.

    A cut connection is taken up again (HTTP Range), and given up after `TRIES` attempts that bring nothing. A wrong
    hash deletes what was downloaded, never what was there before.
    """
    path, part = folder / source.name, folder / f".{source.name}.part"
    if path.exists():
        verify(path, source, "move it away to download it anew, or leave out --download to use it as it is")
        console.print(f"{path}: there already")
        return path
    with clear_os_errors(path):
        folder.mkdir(parents=True, exist_ok=True)
        have = part.stat().st_size if part.exists() else 0
        if source.size:
            require_space(folder, max(0, source.size - have))
        _fill(source, part)
        try:
            verify(part, source, "it was deleted; run the same command again, or tell us that the publisher changed it")
        except GenirError:
            part.unlink()
            raise
        os.replace(part, path)
    console.print(
        f"{path}: {path.stat().st_size / 1e6:,.1f} MB{'' if source.hash else ', not verified (no known hash)'}"
    )
    return path


def verify(path: Path, source: Source, remedy: str) -> None:
    """Raise GenirError when a file's hash is not the known one."""
    if source.hash is None:
        return
    kind, wanted = source.hash
    with open(path, "rb") as handle:
        got = hashlib.file_digest(handle, kind).hexdigest()
    if got != wanted:
        raise GenirError(f"{path}: not the published {source.name} ({kind} {got}, not {wanted}); {remedy}")


def _fill(source: Source, part: Path) -> None:
    """Bring `part` to the length that the server states; it is flushed to disk."""
    tries = TRIES
    while tries:
        before = part.stat().st_size if part.exists() else 0
        try:
            if _append(source, part):
                return
            reason = "the connection was cut"
        except urllib.error.HTTPError as error:
            if error.code < 500 and error.code != 429:  # 429: too many requests at once
                raise GenirError(f"{source.url}: the server answers {error.code} {error.reason}") from None
            reason = f"the server answers {error.code} {error.reason}"
        except CUT as error:
            reason = str(getattr(error, "reason", error)) or type(error).__name__
        after = part.stat().st_size if part.exists() else 0
        tries = TRIES if after > before else tries - 1
        if 0 < tries < TRIES:
            time.sleep(PAUSE * 2 ** (TRIES - 1 - tries))
    raise GenirError(f"{source.url}: {reason} after {after:,} bytes; the same command goes on from there")


def _append(source: Source, part: Path) -> bool:
    """One request for what is missing; whether the file is whole now. A server that sends all starts the file anew."""
    have = part.stat().st_size if part.exists() else 0
    wanted = {"User-Agent": "genir", **source.headers, **({"Range": f"bytes={have}-"} if have else {})}
    try:
        answer = urllib.request.urlopen(urllib.request.Request(source.url, headers=wanted), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if have and error.code == 416:  # nothing is left to send, or the file is another one now
            if error.headers.get("Content-Range", "").endswith(f"/{have}"):
                return True
            part.unlink()
            return False
        raise
    with answer:
        have = have if answer.status == 206 else 0
        length = answer.headers.get("Content-Length")
        total = have + int(length) if length else None
        with open(part, "r+b" if have else "wb") as handle, progress() as bar:
            handle.seek(have)
            task = bar.add_task(source.name, total=total, completed=have, note="")
            while block := answer.read(BLOCK):
                handle.write(block)
                bar.advance(task, len(block))
            handle.flush()
            os.fsync(handle.fileno())
            return total is None or handle.tell() == total

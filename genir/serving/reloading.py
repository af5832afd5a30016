"""The retriever that is served, and its replacement when its folder changes."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from genir.errors import GenirError
from genir.retriever import Retriever, find_retriever, identify_folder

_LOG = logging.getLogger("genir.serving")
_RETRY_POLLS = 15
"""A folder that could not be loaded is tried again after so many polls, since files may still be being copied to it."""


class ServedRetriever:
    """The retriever with which new requests are answered.

    current: the retriever. A request reads it once, so that it sees one retriever, even if that is replaced meanwhile.
    """

    def __init__(
        self, retriever: Retriever, folder: Path | None = None, identity: tuple[int, ...] | None = None
    ) -> None:
        self.current = retriever
        self.folder, self.identity = folder, identity

    @classmethod
    def load(cls, folder: str) -> "ServedRetriever":
        """Load the retriever of a run folder, a retriever folder or the hub, and search with it once.

        Raises GenirError if it cannot be loaded, or if something that it needs on first use is missing.
        """
        path = find_retriever(folder)
        identity = identify_folder(path)  # before loading: a later change is then noticed, if need be twice
        return cls(_load(path), path, identity)

    def make_ready(self) -> None:
        """Search once in this process, which starts its threads."""
        _search_once(self.current)


class FolderWatcher:
    """A thread that loads the retriever again when its folder changes, and keeps the old one if that fails.

    interval: seconds between two polls of the identity and the time of genir.json. on_loaded: called with the number of
    documents after each reload, and with None if it failed.
    """

    def __init__(self, served: ServedRetriever, on_loaded: Callable[[int | None], None], interval: float = 2) -> None:
        self._served, self._on_loaded, self._interval = served, on_loaded, interval
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="folder watcher", daemon=True)
        self._failed: tuple[int, ...] | None = None
        self._polls_since = 0
        self._message = ""

    def start(self) -> None:
        """Start to watch the folder."""
        self._thread.start()

    def stop(self, timeout: float = 5) -> None:
        """Stop to watch the folder; a retriever that is being loaded is waited for at most `timeout` seconds."""
        self._stop.set()
        self._thread.join(timeout)

    def _watch(self) -> None:
        while True:
            self.poll()
            if self._stop.wait(self._interval):
                return

    def poll(self) -> None:
        """Load the retriever again if its folder has changed."""
        folder = self._served.folder
        if folder is None:
            return
        identity = identify_folder(folder)
        self._polls_since += 1
        is_retry = identity == self._failed and self._polls_since < _RETRY_POLLS
        if identity is None or identity == self._served.identity or is_retry:
            return
        start = time.monotonic()
        try:
            retriever = _load(folder)
        except Exception as error:
            self._fail(identity, error)
        else:
            self._served.current, self._served.identity = retriever, identity
            self._failed, self._message = None, ""
            count = len(retriever.table)
            _LOG.info("loaded %s again in %.1f s: %d documents", folder, time.monotonic() - start, count)
            self._on_loaded(count)

    def _fail(self, identity: tuple[int, ...], error: Exception) -> None:
        """Remember that a folder cannot be loaded, and log that once."""
        self._failed, self._polls_since = identity, 0
        message = str(error) if isinstance(error, GenirError) else repr(error)
        if message != self._message:
            _LOG.error("the changed retriever cannot be loaded, the old one is kept: %s", message)
            self._message = message
        self._on_loaded(None)


def _load(folder: Path) -> Retriever:
    retriever = Retriever.from_pretrained(folder)
    _search_once(retriever)
    return retriever


def _search_once(retriever: Retriever) -> None:
    """Search once, which loads what is loaded on first use, and fails now if that is missing."""
    hits = retriever.search("a first search", 1)
    retriever.table.doc_index(hits[0].doc_id)  # builds the index of doc_ids

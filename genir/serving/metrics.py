"""The metrics of the HTTP service, for Prometheus.

If the environment variable PROMETHEUS_MULTIPROC_DIR was set before prometheus_client was imported, the metrics are
those of all processes that share this folder.
"""

import os

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
)

from genir.records import Hits

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1000)


class Metrics:
    """The metrics of one service, in a registry of their own."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter(
            "genir_requests", "Requests by route, method and status.", ["route", "method", "code"], registry=registry
        )
        self._seconds = Histogram(
            "genir_request_seconds",
            "Time from a request to its answer.",
            ["route"],
            registry=registry,
            buckets=_SECONDS,
        )
        self._waiting = Gauge(
            "genir_queue_length",
            "Queries that wait, by queue.",
            ["queue"],
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._batches = Histogram(
            "genir_batch_size", "Queries that were searched together.", registry=registry, buckets=_SIZES
        )
        self._beams = Histogram("genir_beams", "Beam sizes of searches.", registry=registry, buckets=_SIZES)
        self._searches = Counter(
            "genir_searches",
            "Queries that were searched; certified: whether all hits are proven to be the model's best.",
            ["certified"],
            registry=registry,
        )
        self._documents = Gauge(
            "genir_documents", "Documents that are searched.", registry=registry, multiprocess_mode="livemostrecent"
        )
        self._reloads = Counter(
            "genir_reloads", "Times that a changed retriever folder was loaded.", ["result"], registry=registry
        )
        for certified in ("true", "false"):  # so that the share of certified searches can be computed from the start
            self._searches.labels(certified)

    def count_request(self, route: str, method: str, code: int, seconds: float) -> None:
        """Count a request that has been answered."""
        self._requests.labels(route, method, code).inc()
        self._seconds.labels(route).observe(seconds)

    def set_queue_length(self, queue: str, length: int) -> None:
        """Set the number of queries that wait in a queue."""
        self._waiting.labels(queue).set(length)

    def count_batch(self, size: int) -> None:
        """Count a batch of queries that are searched together."""
        self._batches.observe(size)

    def count_search(self, hits: Hits, beams: int) -> None:
        """Count a query that has been searched."""
        self._searches.labels("true" if hits.exact else "false").inc()
        self._beams.observe(beams)

    def set_documents(self, count: int) -> None:
        """Set the number of documents that are searched; of several processes, the last one that is set is shown."""
        self._documents.set(count)

    def count_reload(self, succeeded: bool) -> None:
        """Count an attempt to load a changed retriever folder."""
        self._reloads.labels("loaded" if succeeded else "failed").inc()

    def render(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        registry = self._registry
        if FOLDER_VARIABLE in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

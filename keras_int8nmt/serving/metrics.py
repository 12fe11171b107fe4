"""What a service counts, as Prometheus reads it."""

from __future__ import annotations

import os
from typing import Any

# Where worker processes keep what they count together; the parent sets it.
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SHARES = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


class Metrics:
    """The counters of one service. Those of several workers are added up where they are read.

    Attributes:
        queue: Sentences that are accepted and not finished.
        begun: Those of them that the decoders have.
    """

    def __init__(self) -> None:
        import prometheus_client as prometheus

        self._prometheus = prometheus
        self._registry = prometheus.CollectorRegistry()
        name, where = "keras_int8nmt_", {"registry": self._registry}
        summed = {**where, "multiprocess_mode": "livesum"}
        self._requests = prometheus.Counter(
            name + "requests", "Requests, by their path and status", ("path", "status"), **where
        )
        self._seconds = prometheus.Histogram(
            name + "request_seconds",
            "Seconds from a request's head to the end of its answer",
            ("path",),
            buckets=_SECONDS,
            **where,
        )
        self._sentences = prometheus.Counter(
            name + "sentences", "Sentences that were translated", ("pair", "precision"), **where
        )
        self._tokens = prometheus.Counter(
            name + "tokens", "Tokens of their translations", ("pair", "precision"), **where
        )
        self._dropped = prometheus.Counter(
            name + "dropped_requests", "Requests that their clients did not wait for", **where
        )
        self.queue: Any = prometheus.Gauge(
            name + "queue_sentences", "Sentences that are accepted and not finished", **summed
        )
        self.begun: Any = prometheus.Gauge(
            name + "decoder_sentences", "Sentences that the decoders have", **summed
        )
        self._fill = prometheus.Histogram(
            name + "batch_fill_ratio",
            "Share of a decoder's places that have a sentence, when sentences are handed to it",
            ("pair", "precision"),
            buckets=_SHARES,
            **where,
        )
        self._children: dict[tuple[Any, tuple[str, ...]], Any] = {}

    def _of(self, family: Any, *labels: str) -> Any:
        """The counter of some labels; to look it up in the family takes a lock and longer."""
        found = self._children.get((family, labels))
        if found is None:
            found = self._children[family, labels] = family.labels(*labels)
        return found

    def request(self, path: str, status: int, seconds: float) -> None:
        self._of(self._requests, path, str(status)).inc()
        self._of(self._seconds, path).observe(seconds)

    def translated(self, pair: str, precision: str, sentences: int, tokens: int) -> None:
        self._of(self._sentences, pair, precision).inc(sentences)
        self._of(self._tokens, pair, precision).inc(tokens)

    def dropped(self) -> None:
        self._dropped.inc()

    def filled(self, pair: str, precision: str, share: float) -> None:
        self._of(self._fill, pair, precision).observe(share)

    def text(self) -> bytes:
        """All of them, in Prometheus' text format."""
        registry = self._registry
        if SHARED_FOLDER in os.environ:
            from prometheus_client import multiprocess

            registry = self._prometheus.CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)
        found: bytes = self._prometheus.generate_latest(registry)
        return found

    @property
    def content_type(self) -> str:
        return str(self._prometheus.CONTENT_TYPE_LATEST)


def forget_process(process: int) -> None:
    """Takes the gauges of a worker that has ended out of the sums."""
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(process)

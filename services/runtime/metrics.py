"""The metrics that every process has. Those of one service stand where they are counted, by the same naming:
`sightline_<component>_<what>_<unit>`."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

rpc_seconds = Histogram("sightline_rpc_seconds", "Time to answer a call.", ["method", "code"], buckets=SECONDS)
caller_calls_total = Counter(
    "sightline_caller_calls_total", "Calls and streams that ended, by who made them.", ["caller", "code"]
)
refused_total = Counter("sightline_refused_total", "Calls whose key was refused.", ["reason"])

batch_items = Histogram("sightline_batch_items", "Items in a batch as it leaves its queue.", ["queue"], buckets=SIZES)
queue_seconds = Histogram(
    "sightline_queue_seconds", "Time that the oldest item of a batch queued.", ["queue"], buckets=SECONDS
)
expired_total = Counter("sightline_expired_total", "Items never run: their deadline had passed.", ["queue"])

store_read_timestamp_seconds = Gauge(
    "sightline_store_read_timestamp_seconds", "When all pointers were last read from the store, in seconds since 1970."
)


class QueueMetrics:
    """Counts what a Batcher does, under the label `queue`; a services.runtime.batcher.Observer."""

    def __init__(self, queue: str) -> None:
        self._items, self._seconds = batch_items.labels(queue), queue_seconds.labels(queue)
        self._expired = expired_total.labels(queue)

    def left(self, items: int, weight: int, waited: float) -> None:
        self._items.observe(items)
        self._seconds.observe(waited)

    def expired(self) -> None:
        self._expired.inc()

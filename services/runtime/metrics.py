"""The metrics that every process has. Those of one service stand where they are counted, by the same naming:
`sightline_<component>_<what>_<unit>`.

Labels that are known in advance start at 0: for Prometheus, a counter that appears with its first event never grew.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from functools import cache, partial
from typing import Protocol

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

from services.runtime.codes import NAMES

disable_created_metrics()  # type: ignore[no-untyped-call]  # when each series began, as a series of its own: nobody asks, and it doubles a scrape

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)

build_info = Gauge("sightline_build_info", "Always 1; says what this process is.", ["component", "version"])
loop_lag_seconds = Histogram("sightline_loop_lag_seconds", "How late the event loop wakes a timer.", buckets=SECONDS)

rpc_calls_total = Counter("sightline_rpc_calls_total", "Calls and streams that ended.", ["method", "code"])
rpc_seconds = Histogram("sightline_rpc_seconds", "Time to answer a call.", ["method", "code"], buckets=SECONDS)
caller_calls_total = Counter(
    "sightline_caller_calls_total", "Calls and streams that ended, by who made them.", ["caller", "code"]
)
refused_total = Counter("sightline_refused_total", "Calls whose key was refused.", ["reason"])

batch_items = Histogram("sightline_batch_items", "Items in a batch as it leaves its queue.", ["queue"], buckets=SIZES)
queue_seconds = Histogram(
    "sightline_queue_seconds", "Time that the oldest item of a batch queued.", ["queue"], buckets=SECONDS
)
queue_items = Gauge("sightline_queue_items", "Items that wait now.", ["queue"])
queue_refused_total = Counter("sightline_queue_refused_total", "Items refused: the queue was full.", ["queue"])
expired_total = Counter("sightline_expired_total", "Items never run: their deadline had passed.", ["queue"])

pool_replicas = Gauge("sightline_pool_replicas", "Replicas known, up or down.", ["pool", "state"])
pool_failovers_total = Counter(
    "sightline_pool_failovers_total", "Calls that went on to another replica, by why.", ["pool", "reason"]
)


class CallMetrics:
    """Counts the calls of one method. Its series are looked up once: that takes longer than counting."""

    def __init__(self, method: str) -> None:
        self._method = method
        self._calls = {code: rpc_calls_total.labels(method, code) for code in NAMES.values()}
        self._seconds: dict[str, Histogram] = {}

    def ended(self, code: str) -> None:
        """Counts a call or a stream that ended with a code."""
        self._calls[code].inc()

    def took(self, code: str, seconds: float) -> None:
        """Notes how long a call took that ended with a code."""
        timed = self._seconds.get(code)
        if timed is None:
            timed = self._seconds[code] = rpc_seconds.labels(self._method, code)
        timed.observe(seconds)


@cache
def calls_of(method: str) -> CallMetrics:
    """Returns what counts a method; its counters are at 0 from the first time that this is asked."""
    return CallMetrics(method)


class Queued(Protocol):
    """A queue that can be asked how many wait, from any thread."""

    @property
    def queued(self) -> int: ...


_queues: dict[str, tuple[weakref.ref[Queued], ...]] = {}
"""Those that are still there, by name. Replaced and never changed: another thread reads it when it is scraped."""


class QueueMetrics:
    """Counts what a Batcher does, under the label `queue`; a services.runtime.batcher.Observer."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._items, self._seconds = batch_items.labels(queue), queue_seconds.labels(queue)
        self._expired, self._refused = expired_total.labels(queue), queue_refused_total.labels(queue)

    def watches(self, queued: Queued) -> None:
        alive = (one for one in _queues.get(self._queue, ()) if one() is not None)
        _queues[self._queue] = (*alive, weakref.ref(queued))
        queue_items.labels(self._queue).set_function(partial(_waiting, self._queue))

    def left(self, items: int, weight: int, waited: float) -> None:
        self._items.observe(items)
        self._seconds.observe(waited)

    def expired(self) -> None:
        self._expired.inc()

    def refused(self) -> None:
        self._refused.inc()


def _waiting(queue: str) -> int:
    return sum(one.queued for one in (ref() for ref in _queues[queue]) if one is not None)


class PoolMetrics:
    """Counts what a Pool does."""

    def __init__(self, pool: str) -> None:
        self._up, self._down = (pool_replicas.labels(pool, state) for state in ("up", "down"))
        self._gone, self._slow = (pool_failovers_total.labels(pool, reason) for reason in ("gone", "slow"))

    def replicas(self, up: Iterable[bool]) -> None:
        """Notes which replicas are up."""
        states = list(up)
        self._up.set(sum(states))
        self._down.set(len(states) - sum(states))

    def moved_on(self, *, slow: bool) -> None:
        """Counts a call that is tried again elsewhere, because a replica was gone, or was slow."""
        (self._slow if slow else self._gone).inc()

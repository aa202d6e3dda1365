"""Answers that were given before: a first level in this process, a second in Redis, which may be slow or gone.

Keys name the generation and the model's digest, so that nothing is ever out of date and a flip forgets by itself.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from hashlib import blake2b
from typing import Any

from prometheus_client import Counter, Gauge
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from services.gateway.answers import Source
from services.runtime.batcher import Batcher
from services.runtime.metrics import QueueMetrics
from sightline.errors import SightlineError

log = logging.getLogger("sightline.cache")

lookups_total = Counter("sightline_cache_lookups_total", "Lookups by the level that had the answer.", ["level"])
redis_failures_total = Counter("sightline_cache_redis_failures_total", "Calls to Redis that failed or were too slow.")
redis_paused = Gauge("sightline_cache_redis_paused", "1 from when Redis is left alone until it answers again, else 0.")
local_bytes = Gauge("sightline_cache_local_bytes", "Bytes of answers in this process.")
evictions_total = Counter("sightline_cache_evictions_total", "Answers that newer ones pushed out of this process.")

_lookups = {level: lookups_total.labels(level) for level in ("local", "shared", "none")}

PREFIX = b"sightline:"
MAX_BODY = 1024 * 1024
"""Bytes of an answer that is worth keeping in Redis, and of one batch of writes: what is sent well in time."""


class LocalCache:
    """The most recently used answers, at most `max_bytes` of them."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._bodies: OrderedDict[bytes, bytes] = OrderedDict()

    def get(self, key: bytes) -> bytes | None:
        """Returns the answer, if it is here."""
        body = self._bodies.get(key)
        if body is not None:
            self._bodies.move_to_end(key)
        return body

    def put(self, key: bytes, body: bytes) -> None:
        """Remembers the answer, unless it is too large, and forgets the ones that were used least recently."""
        if len(body) > self._max_bytes:
            return
        self._bytes += len(body) - len(self._bodies.pop(key, b""))
        self._bodies[key] = body
        while self._bytes > self._max_bytes:
            self._bytes -= len(self._bodies.popitem(last=False)[1])
            evictions_total.inc()
        local_bytes.set(self._bytes)


class RedisCache:
    """Answers in Redis. Whatever goes wrong there is a miss.

    After three failures in a row Redis is left alone for `pause` seconds, so that one that hangs costs its time-out
    three times and not on every query.
    """

    FAILURES = 3

    def __init__(self, url: str, *, ttl: float, timeout: float, pause: float = 5.0) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout * 2,
            retry=Retry(NoBackoff(), 0),
            max_connections=4,
        )
        self._timeout, self._ttl, self._pause = timeout, ttl, pause
        self._failures = 0
        self._closed_until = 0.0
        self._reads = Batcher(
            self._mget, name="cache", capacity=4096, max_weight=256, observer=QueueMetrics("cache_read")
        )
        self._writes = Batcher(
            self._mset,
            name="cache",
            capacity=4096,
            max_weight=MAX_BODY,
            max_queued=16 * MAX_BODY,
            weigh=lambda entry: len(entry[1]),
            observer=QueueMetrics("cache_write"),
        )
        self._writing: set[asyncio.Task[None]] = set()

    async def get(self, key: bytes) -> bytes | None:
        """Returns the answer, if Redis has it and says so in time."""
        if asyncio.get_running_loop().time() < self._closed_until:
            return None
        try:
            return await self._reads.submit(key)
        except SightlineError:
            return None

    def put(self, key: bytes, body: bytes) -> None:
        """Sends the answer to Redis, unless it is too large for that; nobody waits for it."""
        if len(body) <= MAX_BODY and asyncio.get_running_loop().time() >= self._closed_until:
            task = asyncio.create_task(self._write(key, body))
            self._writing.add(task)
            task.add_done_callback(self._writing.discard)

    async def close(self) -> None:
        """Closes the connections."""
        await self._redis.aclose()

    async def _write(self, key: bytes, body: bytes) -> None:
        try:
            await self._writes.submit((key, body))
        except SightlineError:
            log.debug("an answer was not written to Redis")

    async def _mget(self, keys: Sequence[bytes]) -> Sequence[bytes | Exception | None]:
        found = await self._guard(self._redis.mget([PREFIX + key for key in keys]))
        if found is None:
            return [None] * len(keys)
        return [_opened(key, value) for key, value in zip(keys, found, strict=True)]

    async def _mset(self, entries: Sequence[tuple[bytes, bytes]]) -> Sequence[Exception | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for key, body in entries:
            # Spread, so that what was written together does not end together.
            pipeline.set(PREFIX + key, _sealed(key, body), px=int(self._ttl * 1000 * random.uniform(0.9, 1.1)))
        await self._guard(pipeline.execute())
        return [None] * len(entries)

    async def _guard(self, call: Awaitable[Sequence[Any]]) -> Sequence[bytes | None] | None:
        try:
            async with asyncio.timeout(self._timeout):
                found = await call
        except Exception as error:  # a cache never fails a query, whatever its client may raise
            await self._failed(error)
            return None
        if self._failures:
            self._failures = 0
            redis_paused.set(0)
        return found

    async def _failed(self, error: Exception) -> None:
        redis_failures_total.inc()
        # A Redis that was restarted knows none of the connections that idle here: each would be one more failure.
        with suppress(Exception):
            await self._redis.connection_pool.disconnect(inuse_connections=False)
        self._failures += 1
        if self._failures >= self.FAILURES:
            log.warning("Redis is left alone for %g s: %s", self._pause, error or type(error).__name__)
            self._closed_until = asyncio.get_running_loop().time() + self._pause
            redis_paused.set(1)
            self._failures = self.FAILURES - 1  # one more failure after the pause is enough


def _sealed(key: bytes, body: bytes) -> bytes:
    return blake2b(body, digest_size=8, key=key).digest() + body


def _opened(key: bytes, value: bytes | None) -> bytes | None:
    """Returns the body; None where there is none, or it is not what was written under this key."""
    return value[8:] if value and _sealed(key, value[8:]) == value else None


class TwoLevels:
    """The process's own cache before the shared one; a services.gateway.search.Cache."""

    def __init__(self, local: LocalCache, shared: RedisCache | None = None) -> None:
        self._local, self._shared = local, shared

    async def get(self, key: bytes) -> tuple[bytes, Source] | None:
        """Returns the answer and which level had it."""
        if (body := self._local.get(key)) is not None:
            _lookups["local"].inc()
            return body, Source.LOCAL
        if self._shared and (body := await self._shared.get(key)) is not None:
            _lookups["shared"].inc()
            self._local.put(key, body)
            return body, Source.SHARED
        _lookups["none"].inc()
        return None

    def peek(self, key: bytes) -> bytes | None:
        """Returns the answer if this process has it."""
        return self._local.get(key)

    def put(self, key: bytes, body: bytes) -> None:
        """Remembers an answer on both levels."""
        self._local.put(key, body)
        if self._shared:
            self._shared.put(key, body)

    async def close(self) -> None:
        """Closes the connections of the shared level."""
        if self._shared:
            await self._shared.close()

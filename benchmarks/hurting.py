"""Faults in an observed cluster, one after the other, each long enough to be seen in its metrics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from benchmarks.emoji import COLLECTION
from benchmarks.every_kind import EveryKind
from benchmarks.observed import KEY, Observed
from sightline import Client
from sightline.errors import SightlineError

NOWHERE = 999
"""A generation that was never built."""

BURST = 3000
"""Questions at once: more than fit into the queues before the encoders."""


async def drive(seen: Observed, seconds: float) -> None:
    """Asks of everything, and hurts one part after the other.

    Args:
        seen: the cluster.
        seconds: how long each state of it lasts.
    """
    async with EveryKind(seen):
        await asyncio.sleep(2 * seconds)
        for hurting in (_replica_killed, _replica_hangs, _group_gone, _redis_gone, _encoders_gone, _refused, _full):
            async with hurting(seen):
                await asyncio.sleep(seconds)
            await asyncio.sleep(seconds)
        await asyncio.to_thread(seen.publish)
        await asyncio.sleep(2 * seconds)


@asynccontextmanager
async def _killed(seen: Observed, *names: str) -> AsyncIterator[None]:
    for name in names:
        await asyncio.to_thread(seen.cluster.kill, name)
    yield
    for name in names:
        await asyncio.to_thread(seen.cluster.restart, name, wait=False)
    await asyncio.to_thread(seen.cluster.wait_ready, *names)


@asynccontextmanager
async def _replica_killed(seen: Observed) -> AsyncIterator[None]:
    async with _killed(seen, "searcher-0-0"):
        yield


@asynccontextmanager
async def _replica_hangs(seen: Observed) -> AsyncIterator[None]:
    seen.cluster.stop("searcher-1-0")
    yield
    seen.cluster.resume("searcher-1-0")


@asynccontextmanager
async def _group_gone(seen: Observed) -> AsyncIterator[None]:
    async with _killed(seen, "searcher-0-0", "searcher-0-1"):
        yield


@asynccontextmanager
async def _redis_gone(seen: Observed) -> AsyncIterator[None]:
    async with _killed(seen, "redis"):
        yield


@asynccontextmanager
async def _encoders_gone(seen: Observed) -> AsyncIterator[None]:
    async with _killed(seen, "encoder-0", "encoder-1"):
        yield


@asynccontextmanager
async def _refused(seen: Observed) -> AsyncIterator[None]:
    """Searchers are pointed to a generation that is not there."""
    pointer = Path(seen.cluster.store) / COLLECTION / "NEXT"
    pointer.write_text(json.dumps({"generation": NOWHERE}), encoding="utf-8")
    yield
    pointer.unlink()


@asynccontextmanager
async def _full(seen: Observed) -> AsyncIterator[None]:
    """More is asked at once than may wait."""

    async def one(client: Client, number: int) -> None:
        with suppress(SightlineError):
            await client.search(f"burst {number}", collection=COLLECTION, timeout=3.0)

    async with Client(seen.cluster.gateway, key=KEY) as client:
        await asyncio.gather(*(one(client, number) for number in range(BURST)))
    yield

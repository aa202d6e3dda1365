"""Whatever happens to a process, callers get answers, or are told at once why not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.drains import gateway_terminated, terminated
from benchmarks.limits import encoder_full, expired_in_their_queues, expired_on_the_way, narrow_gateway, queue_full
from benchmarks.long_stream import held
from benchmarks.losses import HUNG, KILLED, encoders_lost, group_lost, one_of_two, redis_lost
from benchmarks.proof import Proof
from benchmarks.stage import Stage, staged
from services.local.topology import Topology

TOPOLOGY = Topology(groups=2, replicas=2, gateways=3, encoders=2, encoder_threads=1)
NARROW = "gateway-2"

LOOKED_AT_SECONDS = 8.0
CONNECTION_AGE_SECONDS = 30.0
STREAM_SECONDS = 300.0


def bar() -> dict[str, object]:
    """Two searchers a group, two encoders, Redis, and two gateways under traffic; a third one with short queues."""
    proof = Proof()
    with TemporaryDirectory() as folder, hurt(Path(folder)) as stage:
        asyncio.run(_prove(stage, proof))
    calls = sum(one["calls"] for one in proof.figures.values() if isinstance(one, dict) and "calls" in one)
    return proof.outcome(
        f"{calls:,} calls while one replica of two was killed, hung and told to stop, of searchers, encoders and "
        f"gateways, and Redis: 0 failed, 0 partial, 0 wrong; a whole group gone: flagged or UNAVAILABLE, and whole "
        f"again by itself; full queues refuse at once, nothing is computed for expired deadlines; a stream held for "
        f"{STREAM_SECONDS:.0f} s over connections of {CONNECTION_AGE_SECONDS:.0f} s lost nothing"
    )


@contextmanager
def hurt(folder: Path, *, age: float = CONNECTION_AGE_SECONDS, seconds: float = LOOKED_AT_SECONDS) -> Iterator[Stage]:
    """A cluster to be hurt: its connections end after `age` seconds, each of its states is looked at for `seconds`."""
    aged = {"max_connection_age_seconds": age}
    # Nothing in the gateways' own memory, so that every call goes all the way or to Redis.
    overrides = {"gateway": {**aged, "cache_bytes": 0}, "encoder": aged, "searcher": aged}
    with staged(folder, TOPOLOGY, overrides=overrides, gateways=2, seconds=seconds) as stage:
        yield stage


async def _prove(stage: Stage, proof: Proof) -> None:
    for how in (KILLED, HUNG):
        for name in ("searcher-0-0", "encoder-0"):
            await one_of_two(stage, proof, name, how)
        await redis_lost(stage, proof, how)
    await group_lost(stage, proof)
    await encoders_lost(stage, proof)
    for name in ("searcher-1-1", "encoder-1", "redis"):
        await terminated(stage, proof, name)
    await gateway_terminated(stage, proof, "gateway-1")
    async with narrow_gateway(stage, NARROW) as narrow:
        await queue_full(stage, proof, narrow)
        await expired_on_the_way(stage, proof, narrow)
    await encoder_full(stage, proof)
    await expired_in_their_queues(stage, proof)
    await held(stage, proof, seconds=STREAM_SECONDS, age=CONNECTION_AGE_SECONDS)

"""Short samples of the bar `faults`: real processes that are killed, hung and told to stop under traffic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks import drains, limits, losses
from benchmarks.faults import NARROW
from benchmarks.losses import HUNG, KILLED
from benchmarks.proof import Proof
from benchmarks.stage import Stage


@pytest.fixture
def proof() -> Iterator[Proof]:
    """Nothing may be at fault in the end."""
    seen = Proof()
    yield seen
    assert seen.faults == []


async def test_a_searcher_that_is_killed_is_not_missed(stage: Stage, proof: Proof) -> None:
    """One of two searchers of a group is killed under traffic: every call is answered, completely; then it is back."""
    await losses.one_of_two(stage, proof, "searcher-0-0", KILLED)


@pytest.mark.parametrize("name", ["searcher-0-0", "encoder-0"])
async def test_a_process_that_hangs_is_not_missed(stage: Stage, proof: Proof, name: str) -> None:
    """One of two replicas hangs under traffic: every call is answered, completely, within its deadline."""
    await losses.one_of_two(stage, proof, name, HUNG)


async def test_an_encoder_that_is_killed_is_not_missed(stage: Stage, proof: Proof) -> None:
    """One of two encoders is killed under traffic: every call is answered, completely; then it is back."""
    await losses.one_of_two(stage, proof, "encoder-0", KILLED)


@pytest.mark.parametrize("how", [KILLED, HUNG])
async def test_redis_is_not_missed(stage: Stage, proof: Proof, how: str) -> None:
    """Redis is killed or hangs under traffic: every call is answered; when it is back it is used again."""
    await losses.redis_lost(stage, proof, how)


async def test_a_lost_group_is_told(stage: Stage, proof: Proof) -> None:
    """A whole group is killed: answers are flagged as partial, or UNAVAILABLE where partial is refused, and whole again
    when its processes are."""
    await losses.group_lost(stage, proof)


@pytest.mark.parametrize("name", ["searcher-1-1", "redis"])
async def test_a_process_that_is_told_to_stop_loses_nothing(stage: Stage, proof: Proof, name: str) -> None:
    """A process that gets SIGTERM with calls in flight finishes them: no call fails, and it ends with 0."""
    await drains.terminated(stage, proof, name)


async def test_an_encoder_that_is_told_to_stop_loses_nothing(stage: Stage, proof: Proof) -> None:
    """An encoder that gets SIGTERM with calls in flight finishes them."""
    await drains.terminated(stage, proof, "encoder-1")


async def test_a_gateway_that_is_told_to_stop_loses_nothing(stage: Stage, proof: Proof) -> None:
    """A gateway that gets SIGTERM answers what is in flight; clients and streams that know another gateway go there."""
    await drains.gateway_terminated(stage, proof, "gateway-1")


async def test_full_queues_and_late_queries(stage: Stage, proof: Proof) -> None:
    """A full queue refuses at once and loses nobody who waits; a query whose deadline passes is never computed."""
    async with limits.narrow_gateway(stage, NARROW) as narrow:
        await limits.queue_full(stage, proof, narrow)
        await limits.expired_on_the_way(stage, proof, narrow)


async def test_a_full_encoder_says_so(stage: Stage, proof: Proof) -> None:
    """An encoder that is full refuses at once what is beyond, with RESOURCE_EXHAUSTED, and answers the rest."""
    await limits.encoder_full(stage, proof)


async def test_late_queries_in_the_queues_of_others(stage: Stage, proof: Proof) -> None:
    """What expires in the queue of an encoder or a searcher is counted as expired, and not computed."""
    await limits.expired_in_their_queues(stage, proof)

"""The local cluster with the real services."""

from __future__ import annotations

import asyncio

from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import CacheState, Client
from tests.e2e.conftest import StartCluster


async def test_words_find_their_picture(client: Client) -> None:
    """Words go in, and the picture that bears that name comes out first, from all shards."""
    result = await client.search("beaming face with smiling eyes", top_k=5)
    assert len(result.hits) == 5
    assert result.coverage.complete
    assert result.coverage.shards_asked == 4
    scores = [hit.score for hit in result.hits]
    assert scores == sorted(scores, reverse=True)


async def test_gateways_share_their_answers(cluster: LocalCluster) -> None:
    """What one gateway has answered, the other answers from the Redis that they share."""
    first, second = cluster.gateways
    async with Client(first) as one, Client(second) as other:
        before = await one.search("shared between gateways")
        # Nobody waits for what is written to Redis.
        await asyncio.sleep(0.5)
        after = await other.search("shared between gateways")
    assert before.cache is CacheState.MISS
    assert after.cache is CacheState.HIT_SHARED
    assert [hit.id for hit in before.hits] == [hit.id for hit in after.hits]


async def test_killed_replica_is_replaced_by_its_twin(start_cluster: StartCluster) -> None:
    """With two replicas a group, one that is killed costs no answer."""
    harmed = start_cluster(Topology(groups=2, replicas=2, encoders=0, redis=False))
    async with Client(harmed.gateway) as client:
        harmed.kill("searcher-0-0")
        for number in range(10):
            result = await client.search(f"question {number}")
            assert result.coverage.complete


def test_processes_tell_what_they_did(cluster: LocalCluster) -> None:
    """Every process exports metrics of its own."""
    for name, process in cluster.processes.items():
        if process.spec.role != "redis":
            assert any(sample.startswith("sightline_") for sample in cluster.metrics(name))

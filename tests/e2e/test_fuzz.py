"""A short sample of the bar `fuzz`: mutated messages over gRPC, to a cluster that others use too."""

from __future__ import annotations

from benchmarks.fuzz import Target, prove
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from sightline import Client


async def test_whatever_is_sent_is_answered_as_documented(cluster: LocalCluster) -> None:
    """2,000 messages, changed in what they mean and in how they lie on the wire, are answered with the codes that the
    documents name; no process ends, none logs a fault, and none grows without bounds."""
    async with Client(cluster.gateway) as client:
        one, another = [hit.id for hit in await client.search("apple", top_k=2)]
        collection = await client.collection()
    proof = Proof()

    await prove(Target(cluster, collection.name, collection.model.dimension, (one, another)), proof, messages=2000)

    assert proof.faults == []

"""Generations come and go under traffic: nobody sees a generation that is not everywhere, or a mixture of two."""

from __future__ import annotations

import asyncio
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.losses import expect_whole
from benchmarks.proof import Proof
from benchmarks.stage import Stage, staged
from benchmarks.stamped import COLLECTION, flip_a_bit, indexer, wait_visible
from services.local.topology import Topology
from sightline import Client

# Two replicas, so that one of them can be restarted and nothing is missing.
TOPOLOGY = Topology(groups=2, replicas=2, gateways=2, encoders=0)

FLIPS = 10
ROLLBACKS_AFTER = (3, 6, 9)
REFUSING_GROUP = 1
KINDS = ("vector", "again", "many")
RESTARTED = ("searcher-0-0", "searcher-1-0")
"""One after the other, in between: one that has loaded what the other group refuses, and one that refuses it."""


def bar() -> dict[str, object]:
    """Two gateways under traffic: a generation that one group refuses, then good ones and rollbacks."""
    proof = Proof()
    with TemporaryDirectory() as folder, staged(Path(folder), TOPOLOGY) as stage:
        asyncio.run(prove(stage, proof, flips=FLIPS, rollbacks_after=ROLLBACKS_AFTER))
    return proof.outcome(
        f"a generation that a group refuses was not published, over a restart too; {FLIPS} flips and "
        f"{len(ROLLBACKS_AFTER)} rollbacks under traffic on two gateways: {_calls(proof)} answers, 0 errors, "
        "0 partial, 0 of mixed generations"
    )


async def prove(stage: Stage, proof: Proof, *, flips: int, rollbacks_after: tuple[int, ...]) -> None:
    """Publishes a bad generation and then so many good ones; after some of these, rolls back.

    Args:
        stage: serves a first generation.
        proof: what was seen.
        flips: how many good generations.
        rollbacks_after: after which of them, from 1.
    """
    async with stage.traffic(*KINDS) as traffic:
        await _refused(stage, proof, serving=1)
    tally = await stage.judged(traffic.calls)
    expect_whole(proof, "a group refuses: traffic", tally)
    proof.expect("a group refuses: generations that answered", sorted(tally.generations), [1])

    served = [1]
    seconds = []
    async with stage.traffic(*KINDS) as traffic:
        for number in range(1, flips + 1):
            generation = await asyncio.to_thread(stage.corpus.build)
            seconds.append(await _move(stage, proof, "publish", generation, "--generation", str(generation)))
            served.append(generation)
            if number in rollbacks_after:
                seconds.append(await _move(stage, proof, "rollback", served[-2]))
                # What was rolled back is not what the next one comes after.
                served.append(served[-2])
    tally = await stage.judged(traffic.calls)
    expect_whole(proof, "flips: traffic", tally)
    proof.expect("flips: answers of mixed generations", [one for one in tally.wrong if one.startswith("MIXED")], [])
    proof.expect("flips: generations that answered", sorted(tally.generations), sorted(set(served)))
    proof.figures["flips: most seconds until all gateways follow"] = round(max(seconds), 2)


async def _refused(stage: Stage, proof: Proof, *, serving: int) -> None:
    """Builds what one group refuses, and tries to publish it before and after a searcher is restarted."""
    bad = await asyncio.to_thread(stage.corpus.build)
    flip_a_bit(stage.corpus.folder(bad, shard=REFUSING_GROUP) / "vectors.f32")
    for case, restarted in (("a group refuses", ()), ("a group refuses, after a restart", RESTARTED)):
        for name in restarted:
            await stage.kill(name)
            await stage.restore(name)
            await _loaded(stage)
        code, said = await asyncio.to_thread(indexer, "publish", stage.cluster, "--generation", str(bad))
        proof.expect(f"{case}: exit code", code, 1)
        proof.holds(f"{case}: it says which and why", "refuses it: shard 1: vectors.f32" in said)
        proof.expect(f"{case}: CURRENT", stage.corpus.current(), serving)
    for number, gateway in enumerate(stage.gateways):
        async with Client(gateway) as client:
            proof.expect(
                f"a group refuses: gateway {number}", (await client.collection(COLLECTION)).generation, serving
            )


async def _move(stage: Stage, proof: Proof, command: str, generation: int, *arguments: str) -> float:
    """Runs a command that moves CURRENT; returns the seconds until all gateways follow."""
    code, said = await asyncio.to_thread(indexer, command, stage.cluster, *arguments)
    if code:
        proof.faults.append(f"{command} to {generation} ended with {code}: {said[-300:]}")
    return await wait_visible(stage.gateways, generation, stage.corpus.model.dimension)


async def _loaded(stage: Stage) -> None:
    """Gives gateways the time to see that a searcher is back: they ask once a second."""
    await asyncio.sleep(2.5)


def _calls(proof: Proof) -> int:
    return sum(one["calls"] for one in proof.figures.values() if isinstance(one, dict))

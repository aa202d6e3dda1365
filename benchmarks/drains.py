"""Processes that are told to stop while calls are in flight: they finish these, and nobody loses an answer."""

from __future__ import annotations

import asyncio
from itertools import islice

from benchmarks.losses import UNDER_WAY, expect_in_flight, expect_whole
from benchmarks.proof import Proof
from benchmarks.stage import Stage
from benchmarks.traffic import Traffic, Unretried, questions, timed
from sightline import Client

BURST = 60
"""Calls that are asked for shortly before a process is told to stop, beside the rest; some are still in flight then."""


async def terminated(stage: Stage, proof: Proof, name: str) -> None:
    """An encoder, a searcher or Redis is told to stop: the gateways ask the others, or nobody."""
    async with stage.traffic() as traffic:
        await asyncio.sleep(1)
        traffic.burst(BURST)
        await asyncio.sleep(UNDER_WAY)
        expect_in_flight(proof, f"{name} terminated", traffic.in_flight)
        await _stop_and_start(stage, proof, name)
        await asyncio.sleep(1)
    expect_whole(proof, f"{name} terminated", await stage.judged(traffic.calls))


async def gateway_terminated(stage: Stage, proof: Proof, name: str) -> None:
    """A gateway is told to stop: it answers what it has, and clients that know another go there, with streams too."""
    there = stage.cluster.processes[name].spec.address
    everywhere = "ipv4:" + ",".join([there, *(one for one in stage.gateways if one != there)])
    async with (
        Unretried(there) as only,
        Client(everywhere) as client,
        client.stream() as stream,
        Traffic([client], questions(stage.corpus)) as traffic,
        Traffic([stream], questions(stage.corpus)) as streamed,
    ):
        await asyncio.sleep(1)
        asked = questions(stage.corpus)
        # So that it is connected, and the rest are with the gateway when that is told to stop.
        await timed(only, next(asked))
        in_flight = [asyncio.create_task(timed(only, one)) for one in islice(asked, BURST)]
        await asyncio.sleep(UNDER_WAY)
        expect_in_flight(proof, f"{name} terminated", sum(not one.done() for one in in_flight))
        await _stop_and_start(stage, proof, name)
        await asyncio.sleep(1)
    cases = {"in flight": await asyncio.gather(*in_flight), "calls": traffic.calls, "stream": streamed.calls}
    for case, calls in cases.items():
        expect_whole(proof, f"{name} terminated: {case}", await stage.judged(calls))


async def _stop_and_start(stage: Stage, proof: Proof, name: str) -> None:
    stage.cluster.terminate(name)
    proof.expect(f"{name} terminated: exit code", await asyncio.to_thread(stage.cluster.wait_ended, name), 0)
    await asyncio.sleep(0.5)
    await stage.restore(name)

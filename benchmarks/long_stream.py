"""One stream that is held for long, while every connection of the cluster is ended for its age again and again."""

from __future__ import annotations

import asyncio
from typing import Any

from benchmarks.losses import expect_whole
from benchmarks.proof import Proof
from benchmarks.stage import Stage
from benchmarks.traffic import TIMEOUT, Traffic, Unretried, questions
from sightline.stream import ReopeningStream
from sightline.surface import WINDOW
from sightline.v1 import search_pb2_grpc

RATE = 20.0


async def held(stage: Stage, proof: Proof, *, seconds: float, age: float) -> None:
    """A stream is held for so many seconds: every question is answered, however often the stream is opened again.

    Args:
        stage: a cluster whose connections end after `age` seconds.
        proof: what was seen.
        seconds: how long to hold it.
        age: of the connections.
    """
    opened = 0
    # A channel of its own: what is tested is the stream's own patience.
    async with Unretried("ipv4:" + ",".join(stage.gateways)) as client:
        stub = search_pb2_grpc.SearchServiceStub(client._channel)

        def open_stream() -> Any:
            nonlocal opened
            opened += 1
            return stub.SearchStream()

        stream = ReopeningStream(open_stream, address="the gateways", window=WINDOW, timeout=TIMEOUT)
        async with stream, Traffic([stream], questions(stage.corpus), rate=RATE) as traffic:
            await asyncio.sleep(seconds)
    case = f"stream held for {seconds:g} s, connections for {age:g}"
    proof.figures[f"{case}: times opened"] = opened
    # The age that gRPC gives a connection is drawn within a tenth of what it is told.
    proof.holds(f"{case}: opened again and again", opened >= seconds // (1.1 * age))
    proof.expect(f"{case}: answers", len(traffic.calls), traffic.asked)
    expect_whole(proof, case, await stage.judged(traffic.calls))

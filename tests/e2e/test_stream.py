"""A short sample of the stream that the bar `faults` holds for five minutes."""

from __future__ import annotations

from benchmarks.long_stream import held
from benchmarks.proof import Proof
from benchmarks.stage import Stage


async def test_a_stream_outlives_its_connections(stage: Stage) -> None:
    """A stream is held for three times as long as connections live: every question is answered, rightly."""
    proof = Proof()
    await held(stage, proof, seconds=9, age=3)
    assert proof.faults == []

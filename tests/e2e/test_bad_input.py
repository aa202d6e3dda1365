"""The bar `bad-input`, which is short: real processes, bare stubs."""

from __future__ import annotations

from benchmarks.bad_input import prove
from benchmarks.proof import Proof
from benchmarks.stage import Stage


async def test_bad_input_is_refused_and_harms_nobody(stage: Stage) -> None:
    """Bad requests get an error with field and limit, by every way of asking; bad generations are refused with the true
    reason; good questions are answered all the while, and no process ends."""
    proof = Proof()
    await prove(stage, proof)
    assert proof.faults == []

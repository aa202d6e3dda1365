"""A short sample of the bar `flips`: real processes, two gateways, two groups of two searchers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.flips import TOPOLOGY, prove
from benchmarks.proof import Proof
from benchmarks.stage import Stage, staged


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    # A gateway that follows CURRENT faster than it asks its searchers must not ask them for what it has not heard of.
    settings = {"gateway": {"poll_seconds": 0.1, "probe_seconds": 3}, "searcher": {"poll_seconds": 0.2}}
    with staged(tmp_path, TOPOLOGY, overrides=settings, images=500) as running:
        yield running


async def test_generations_come_and_go_unnoticed(stage: Stage) -> None:
    """What a group refuses is not published, over restarts too; good flips and a rollback under traffic on two gateways
    cost no answer, and no answer mixes generations."""
    proof = Proof()
    await prove(stage, proof, flips=2, rollbacks_after=(1,))
    assert proof.faults == []

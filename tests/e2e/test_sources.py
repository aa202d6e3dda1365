"""Short samples of the bars `sources` and `ingest-speed`."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import ingest_speed
from benchmarks.emoji import MODEL
from benchmarks.proof import Proof
from benchmarks.sources import prove_kind
from services.local.cluster import LocalCluster


@pytest.mark.parametrize("kind", ["webdataset", "npy"])
def test_a_killed_build_ends_in_the_same_bytes(cluster: LocalCluster, tmp_path: Path, kind: str) -> None:
    """A real build that SIGKILL has ended and that is begun again writes the bytes of an undisturbed one, and both
    reports tell of each broken picture with its true reason."""
    proof = Proof()

    prove_kind(kind, tmp_path, cluster.addresses("encoder")[0], proof, rows=160, kills=1)

    assert proof.faults == []


def test_the_speed_of_a_build_can_be_measured(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each step of a build has a cost of its own, and a build costs at least what they do."""
    monkeypatch.setattr(ingest_speed, "CORES", 1)  # each loads torch
    (one,) = ingest_speed.measure(tmp_path, cluster, (str(MODEL), ""), photographs=12, alone=4, rounds=1)

    assert set(one.steps) == {"decode", "thumbnail", "prepare", "encode"}
    assert min(one.steps.values()) > 0
    assert one.images == 12
    assert one.indexer > 12 * one.steps["decode"]

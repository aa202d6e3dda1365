"""A short sample of the bar `scope`: a model's own word on its scope, and the documented way to other weights."""

from __future__ import annotations

from pathlib import Path

from benchmarks.proof import Proof
from benchmarks.scope import prove_documented_steps, prove_warning, take
from services.local.cluster import LocalCluster


def test_photographs_with_the_bundled_model_are_warned_of(cluster: LocalCluster, tmp_path: Path) -> None:
    """The bundled model says that it is for emoji and names real weights when it is given photographs, and says
    nothing when it is given emoji."""
    proof = Proof()
    take(tmp_path / "photographs", 4)

    prove_warning(tmp_path, cluster.addresses("encoder")[0], proof)

    assert proof.faults == []


def test_photographs_are_found_with_weights_from_a_local_file(tmp_path: Path) -> None:
    """The commands of docs/indexing.md, run as they stand, index a folder of photographs with a ViT-B-32 from a local
    file, and a cluster over that index finds each by itself."""
    proof = Proof()
    take(tmp_path / "photographs", 8)

    prove_documented_steps(tmp_path, proof)

    assert proof.faults == []

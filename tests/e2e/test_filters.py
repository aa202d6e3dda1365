"""A short sample of the bar `filters`: few images, an index of few lists."""

from __future__ import annotations

from pathlib import Path

from benchmarks.filters import Scale, attributes_of, built, prove_flat, prove_recall
from benchmarks.proof import Proof
from tests.corpus import unit_vectors


def test_filtered_answers_are_right_at_every_share(tmp_path: Path) -> None:
    """Filters of every share, of attributes that follow the vectors and of such that do not, leave a Flat index exact
    and another one with nearly all that there is, and never with fewer than k."""
    images, proof = unit_vectors(10_000, 64), Proof()
    scale = Scale(images, attributes_of(images), unit_vectors(8, 64, seed=1))

    prove_flat(built("Flat", scale, tmp_path), scale, proof, queries=8)
    prove_recall(built("IVF16,SQfp16", scale, tmp_path), scale, proof)

    assert proof.faults == []

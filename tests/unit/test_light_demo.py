"""The bar `light-demo`: both backends side by side, and what counts as a difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import backends, light_demo
from benchmarks.proof import Proof
from services.encoder.model import load


def test_same_vectors(exported: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model and its export are compared, and both have their CPU time."""
    monkeypatch.setattr(backends, "ROUNDS", 1)
    proof = Proof()
    theirs = load(str(exported.parent / "source"), device="cpu", threads=1)
    light_demo.compare("tiny", theirs, exported, proof)
    assert proof.faults == []
    figures = proof.figures["tiny: CPU ms per text"]
    assert isinstance(figures, dict)
    assert all(took > 0 for of in figures.values() for took in of.values())


def test_differences() -> None:
    """Near scores may stand in either order, also across the last rank; far ones may not, nor may any be missing."""
    one = [("a", 0.9), ("b", 0.5), ("c", 0.4995), ("d", 0.1)]
    assert not backends.differ(one, [("a", 0.9), ("c", 0.5), ("b", 0.499), ("d", 0.1)], 2)
    assert not backends.differ(one, [("a", 0.9), ("b", 0.5), ("c", 0.4995), ("d", 0.1)], 4)
    assert backends.differ(one, [("b", 0.9), ("a", 0.5), ("c", 0.4995), ("d", 0.1)], 2)
    assert backends.differ(one, [("a", 0.9), ("d", 0.5), ("c", 0.4995), ("b", 0.1)], 2)
    assert backends.differ(one, one[:3], 2)

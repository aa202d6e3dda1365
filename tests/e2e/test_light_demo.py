"""A short sample of the bar `light-demo`: both backends from pictures to answers."""

from __future__ import annotations

from pathlib import Path

from benchmarks import light_demo
from benchmarks.emoji import some
from benchmarks.proof import Proof

TEXTS = ["red apple", "红苹果", "manzana roja", "火山", "снеговик", "साइकिल", "cœur rouge", "kırmızı kalp"]


def test_same_answers(all_pictures: Path, tmp_path: Path) -> None:
    """By either backend, from pictures to answers through a running cluster, the answers are the same."""
    proof = Proof()
    few = some(all_pictures, 40, tmp_path)
    asked, wrong = light_demo.prove_answers(tmp_path / "clusters", TEXTS, proof, few)
    assert proof.faults == []
    assert (asked, wrong) == (len(TEXTS), 0)

"""A short sample of the bar `metrics-agree`."""

from __future__ import annotations

from benchmarks import metrics_agree
from benchmarks.proof import Proof


def test_measures_agree_with_other_libraries() -> None:
    """Every measure is that of torchmetrics, and Recall@K that of clip_benchmark, ties broken by our rule."""
    proof = Proof()

    metrics_agree.prove_measures(proof, 50)
    metrics_agree.prove_published_recall(proof, 50)

    assert proof.faults == []

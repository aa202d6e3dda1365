"""The bar `relevance`: that what falls short of it fails it. `test_training.py` asks the model itself."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from benchmarks import relevance
from benchmarks.proof import Proof
from training.judge import REPORTED, Score, Verdict, aims

GOOD = Score(100, 0.99, 0.99, 0.99, 0.99)


def test_a_model_that_is_good_enough_passes() -> None:
    """Texts and pictures that are found, and found better together with n-grams, pass; aims are told beside that."""
    proof = Proof()
    relevance.judge(proof, _verdicts())
    assert proof.faults == []
    assert [aim.met for aim in aims(_verdicts())] == [True, True, True]


@pytest.mark.parametrize(
    ("way", "name", "less"),
    [
        ("model", "own names", {"at_1": 0.979}),
        ("model", "held-out names", {"at_10": 0.749}),
        ("model", "held-out keywords", {"at_10": 0.219}),
        ("model", "unseen pairs", {"recall_10": 0.949}),
        ("fused", "held-out names", {"at_10": 0.9}),
        ("fused", "held-out keywords", {"at_10": 0.9}),
        ("n-grams", "held-out keywords", {"at_10": 1.0}),
    ],
)
def test_a_model_that_finds_less_fails(way: str, name: str, less: dict[str, Any]) -> None:
    """Each mean that is too low fails the bar, and so does a fusion that is not above both of its parts."""
    verdicts, proof = _verdicts(), Proof()
    worse = {**verdicts[way].texts, name: {"mean": replace(verdicts[way].texts[name]["mean"], **less)}}
    relevance.judge(proof, verdicts | {way: replace(verdicts[way], texts=worse)})
    assert len(proof.faults) == 1


def test_pictures_that_are_lost_fail() -> None:
    """Augmented pictures that find themselves too rarely fail the bar."""
    verdicts, proof = _verdicts(), Proof()
    lost = replace(verdicts["model"], pictures=replace(GOOD, at_1=0.949))
    relevance.judge(proof, verdicts | {"model": lost})
    assert len(proof.faults) == 1


def test_a_report_of_another_model_fails() -> None:
    """The committed report tells the means of the committed model, and no others."""
    proof = Proof()
    relevance.prove_report(proof, _verdicts()["model"])
    assert len(proof.faults) == 1


def _verdicts() -> dict[str, Verdict]:
    """A model, n-grams that find a little less, and both fused, which find everything."""
    found = {"model": GOOD, "n-grams": replace(GOOD, at_10=0.98), "fused": replace(GOOD, at_10=1.0)}
    return {
        way: Verdict({name: {"mean": score} for name in REPORTED}, GOOD if way == "model" else None)
        for way, score in found.items()
    }

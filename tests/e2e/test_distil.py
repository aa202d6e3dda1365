"""The bar `distil`: what it teaches and asks, and that it can fail. `test_distilling.py` trains."""

from __future__ import annotations

from pathlib import Path

from benchmarks import distil
from benchmarks.emoji import MODEL, read
from benchmarks.proof import Proof
from training.judge import Score, Verdict

NAMES = ("own names", "held-out names", "held-out keywords")


def test_what_is_asked_is_not_taught(pictures: Path) -> None:
    """No held-out name or keyword is taught, alone or joined, and one that is taught all the same fails the bar."""
    ids = [picture.id for picture in read(pictures)]
    texts, rows = distil.known(ids), list(distil.taught(ids, joined=2_000))
    clean, leaking = Proof(), Proof()
    captions = [caption for _, caption in rows]
    distil.check_read(clean, captions, texts)
    distil.check_read(leaking, [*captions, texts.heldout_names[0].text], texts)
    assert not clean.faults
    assert leaking.faults
    assert {picture for picture, _ in rows if picture} <= set(ids)
    assert any(not picture and " " in caption for picture, caption in rows)


def test_a_model_is_searched_as_it_is_served(pictures: Path) -> None:
    """A picture is found by its name, whatever its case and spaces."""
    first, *others = read(pictures)
    search = distil.searching(distil.load(MODEL), {one.id: str(one.file) for one in (first, *others)})
    assert search([f"  {first.caption.upper().replace(' ', '   ')} "])[0][0] == first.id


def test_a_student_that_costs_too_much_fails() -> None:
    """More than half of the size or of the time fails the bar; a third of the time is told, and no condition."""
    sizes, spent = {"teacher": 100, "student": 50}, {"teacher": [1.0, 2.0, 3.0], "student": [0.9, 0.9, 0.9]}
    good, large, slow = Proof(), Proof(), Proof()
    distil.judge_costs(good, sizes, spent)
    distil.judge_costs(large, sizes | {"student": 51}, spent)
    distil.judge_costs(slow, sizes, spent | {"student": [1.1, 1.1, 0.2]})
    assert [len(proof.faults) for proof in (good, large, slow)] == [0, 1, 1]
    assert good.figures["aim"] is False


def test_a_student_that_forgets_fails() -> None:
    """Less than 0.95 of own names R@1, or than 0.9 of held-out names R@10, fails the bar."""
    good, forgetful, narrow = Proof(), Proof(), Proof()
    teacher = _verdict(own=1.0, held_out=0.8)
    distil.judge_answers(good, teacher, _verdict(own=0.95, held_out=0.73))
    distil.judge_answers(forgetful, teacher, _verdict(own=0.94, held_out=0.8))
    distil.judge_answers(narrow, teacher, _verdict(own=1.0, held_out=0.71))
    assert [len(proof.faults) for proof in (good, forgetful, narrow)] == [0, 1, 1]


def _verdict(own: float, held_out: float) -> Verdict:
    scores = dict(zip(NAMES, ((own, 1.0), (0.5, held_out), (0.1, 0.2)), strict=True))
    return Verdict({name: dict.fromkeys(("mean", "en"), Score(10, *of, 0.0, 0.0)) for name, of in scores.items()}, None)

"""The bar `finetune`: what it trains on and asks, and that it can fail. `test_finetuning.py` trains."""

from __future__ import annotations

from pathlib import Path

from benchmarks import finetune
from benchmarks.emoji import MODEL, read
from benchmarks.proof import Proof
from training.emoji import key_of
from training.texts import corpus, name_is_held_out


def test_what_is_asked_is_not_read(pictures: Path) -> None:
    """No name that is asked, and none that training is stopped by, is a text of either table."""
    ids = [picture.id for picture in read(pictures)]
    split = finetune.split_of(ids, ["en"])
    read_texts = {phrase.text for phrase in (*split.new, *split.known)}
    asked, watched = ({query.text for query in of} for of in (split.asked, split.watched))

    assert {phrase.language for phrase in split.new} == {"sw"}
    assert {phrase.language for phrase in split.known} == {"en"}
    assert {query.language for query in split.asked} == {"sw", "en"}
    assert {query.language for query in split.watched} == {"sw", finetune.OTHERS}
    assert not read_texts & (asked | watched)
    assert not asked & watched
    assert not any(name_is_held_out(one.picture, "sw") for one in split.new if one.kind == "name")
    assert {phrase.text for phrase in split.known} <= {phrase.text for phrase in corpus(map(key_of, ids)).training}


def test_both_languages_are_judged(pictures: Path) -> None:
    """The model as it is finds English names that it has not read, and hardly any in Swahili."""
    files = {picture.id: str(picture.file) for picture in read(pictures)}
    split = finetune.split_of(list(files), ["en"])
    found = finetune.hits(split.asked, MODEL, files)
    means = finetune.means(found)
    assert set(means) == {"sw", "en"}
    assert means["en"] > means["sw"]
    assert found[finetune.OTHERS] == found["en"]
    assert sum(found[of].queries for of in means) == len(split.asked)


def test_a_tuning_that_does_not_pay_fails() -> None:
    """The bar fails where less than half of the distance is closed, or where the others lose more than two points."""
    before = {"sw": 0.2, "en": 0.8, "de": 0.7}
    good, little, lossy = Proof(), Proof(), Proof()
    finetune.judge(good, before, {"sw": 0.5, "en": 0.79, "de": 0.69})
    finetune.judge(little, before, {"sw": 0.4, "en": 0.8, "de": 0.7})
    finetune.judge(lossy, before, {"sw": 0.6, "en": 0.77, "de": 0.68})
    assert [len(proof.faults) for proof in (good, little, lossy)] == [0, 1, 1]

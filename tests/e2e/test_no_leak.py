"""The bar `no-leak`: that it holds with one pass of training, and that each kind of leak makes it fail."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest

from benchmarks import no_leak
from benchmarks.emoji import draw, read
from benchmarks.no_leak import HeldOut, Numbers, Said
from benchmarks.proof import Proof
from training.batches import TextBatches
from training.emoji import key_of
from training.texts import LANGUAGES, Corpus, Phrase, Withheld, corpus

# Two pictures, and for each a keyword that is held out, none of whose texts tells it away.
APPLE, DOG = "🍎", "🐶"
TOLD = HeldOut(
    frozenset({Said("pomme rouge", "fr", APPLE)}),
    frozenset({Said("fruit", "en", APPLE)}),
    frozenset({frozenset({"shiny red", "red shiny"})}),
)
CLEAN = {APPLE: ["red apple", "manzana roja"], DOG: ["dog face", "fruity"]}


@cache
def keys() -> tuple[str, ...]:
    return tuple(key_of(picture.id) for picture in read(draw()))


@cache
def whole() -> tuple[Corpus, HeldOut]:
    return corpus(keys()), no_leak.told_again(keys(), LANGUAGES)


def batches_of(phrases: list[Phrase], withheld: Withheld | None) -> TextBatches:
    return TextBatches(phrases, keys(), Numbers(), seed=2, withheld=withheld)


def test_nothing_is_told_away() -> None:
    """The judge asks what the rules hold out in all 20 languages, and training is handed none of it."""
    asked, told = whole()
    proof, read_of = Proof(), {key: set[str]() for key in keys()}
    for phrase in asked.training:
        read_of[phrase.picture].add(phrase.text)

    no_leak.prove_sets(proof, told, asked)
    no_leak.prove_texts(proof, told, read_of)

    assert proof.faults == []
    assert (len(asked.heldout_names), len(asked.heldout_keywords)) == (1327, 5126)


@pytest.mark.parametrize(
    "leak",
    [
        {DOG: ["pomme rouge"]},  # a held-out name, of another picture
        {DOG: ["fruit"]},  # a held-out keyword, of another picture
        {APPLE: ["a fruit that is red"]},
        {APPLE: ["fru"]},
        {APPLE: ["red shiny"]},  # a pair, in either order
        {APPLE: ["shiny red"]},
    ],
)
def test_a_text_that_leaks_is_a_fault(leak: dict[str, list[str]]) -> None:
    """A query among the texts, or a keyword that contains or lies inside a text of its picture, fails the bar."""
    clean, leaking = Proof(), Proof()

    no_leak.prove_texts(clean, TOLD, CLEAN)
    no_leak.prove_texts(leaking, TOLD, CLEAN | leak)

    assert clean.faults == []
    assert len(leaking.faults) >= 1


def test_a_query_that_is_left_out_is_a_fault() -> None:
    """A judge that asks less than the rules hold out, or something else, fails the bar."""
    asked, told = whole()
    less, other, unpaired = Proof(), Proof(), Proof()

    no_leak.prove_sets(less, told, replace(asked, heldout_names=asked.heldout_names[1:]))
    no_leak.prove_sets(other, told, replace(asked, heldout_keywords=asked.heldout_keywords + asked.own_names[:1]))

    no_leak.prove_sets(unpaired, told, replace(asked, unseen_pairs=asked.own_names[:1]))

    assert len(unpaired.faults) == 2
    assert len(less.faults) == 1
    assert len(other.faults) >= 1


def test_no_query_comes_about_by_joining() -> None:
    """Training joins no two texts to a held-out one; without that rule it would, and the bar would see it."""
    asked, told = whole()
    few = [phrase for phrase in asked.training if phrase.language in {"id", "ko"}]
    kept, broken = Proof(), Proof()

    for proof, rule in ((kept, Withheld(asked)), (broken, None)):
        batches = batches_of(few, rule)
        no_leak.prove_batches(proof, told, no_leak.read(batches, keys(), 2 * len(batches)))

    assert kept.faults == []
    assert len(broken.faults) >= 1

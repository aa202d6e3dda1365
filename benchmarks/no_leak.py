"""What the bundled model is judged on, it has not read: told from the sources, in all its languages.

The rules that hold texts out are told here a second time, from the files of Unicode CLDR to the queries, and share
nothing with `training.texts` but the pictures and the list of languages. What training reads is what its own batches
hold: texts of the pictures, alone and joined in twos.
"""

from __future__ import annotations

import hashlib
import html
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from benchmarks.emoji import MODEL
from benchmarks.proof import Proof
from training import sources, train
from training.batches import TextBatches
from training.emoji import pictures
from training.model import MERGES_FILE
from training.stages import Material
from training.texts import FURTHER, LANGUAGES, Corpus, Query, corpus

PASSES = 5
"""Over all texts of training, each with other texts joined."""


_ANNOTATION = re.compile(r'<annotation cp="([^"]+)"(?: (type="tts"))?[^>]*>([^<]*)</annotation>')


class Said(NamedTuple):
    """A text that a language has for a picture, as it is compared."""

    text: str
    language: str
    picture: str


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The queries of the protocol; names and keywords each with a picture that it may be asked for."""

    names: frozenset[Said]
    keywords: frozenset[Said]
    pairs: frozenset[frozenset[str]]
    """Two keywords of one picture as one text, in both orders."""


def bar() -> dict[str, object]:
    """All languages, all sets, and a few passes of training."""
    proof = Proof()
    asked, material = corpus(picture.key for picture in pictures()), material_of_training()
    keys = [picture.key for picture in material.pictures]
    told = told_again(keys, LANGUAGES)
    prove_sets(proof, told, asked)
    prove_texts(proof, told, _texts(material))
    batches = TextBatches(
        material.phrases, keys, Numbers(), seed=1, withheld=material.withheld, further=material.further
    )
    prove_batches(proof, told, read(batches, keys, PASSES * len(batches)))
    return proof.outcome(
        f"{len(asked.heldout_names):,} names, {len(asked.heldout_keywords):,} keywords and {len(told.pairs):,} pairs "
        f"in {len(LANGUAGES)} languages: none is among {proof.figures['texts read']:,} texts that {PASSES} passes of "
        "training read, and no keyword equals, contains or lies inside a text of its picture"
    )


def material_of_training() -> Material:
    """What the training of the bundled model is handed."""
    with TemporaryDirectory() as work:
        # Else it would learn its merges anew, which takes a while and changes no text.
        (Path(work) / MERGES_FILE).write_bytes((MODEL / MERGES_FILE).read_bytes())
        return train.prepare(Path(work))


def told_again(keys: Collection[str], languages: Sequence[str]) -> HeldOut:
    """The held-out queries by the rules of the protocol, from the sources.

    Args:
        keys: the pictures, by their code points without U+FE0F.
        languages: of CLDR.
    """
    names, keywords, anywhere = set[Said](), set[Said](), set[str]()
    of: defaultdict[str, set[str]] = defaultdict(set)
    together: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
    for language in languages:
        for is_name, said in spoken(language, set(keys)):
            if _chosen(10, "n" + said.picture + language) if is_name else _chosen(5, "kw" + said.text):
                (names if is_name else keywords).add(said)
            else:
                anywhere.add(said.text)
                of[said.picture].add(said.text)
                if not is_name:
                    together[language, said.picture].add(said.text)
    whole = anywhere.union(s.text for s in names | keywords)
    whole.update(said.text for language in FURTHER for _, said in spoken(language, set(keys)))
    return HeldOut(
        frozenset(said for said in names if said.text not in anywhere),
        frozenset(s for s in keywords if s.text not in anywhere and not overlapping(s.text, of[s.picture])),
        frozenset(pair for texts in together.values() for pair in _pairs(texts) if pair.isdisjoint(whole)),
    )


def _pairs(texts: Iterable[str]) -> Iterator[frozenset[str]]:
    for one, other in combinations(sorted(texts), 2):
        if _chosen(20, f"pair{one}\n{other}") and not overlapping(one, [other]):
            yield frozenset((f"{one} {other}", f"{other} {one}"))


def spoken(language: str, keys: Collection[str]) -> Iterator[tuple[bool, Said]]:
    """What CLDR says of the pictures: whether it is a name, and the text in NFC, case-folded, single-spaced."""
    for folder in ("annotations", "annotationsDerived"):
        file = sources.cldr_folder() / folder / f"{language}.xml"
        for written, tts, content in _ANNOTATION.findall(file.read_text(encoding="utf-8")):
            picture, text, name = html.unescape(written).replace("\ufe0f", ""), html.unescape(content), bool(tts)
            if picture not in keys:
                continue
            for part in [text] if name else text.split("|"):
                folded = unicodedata.normalize("NFC", part).casefold()
                yield name, Said(" ".join(folded.split()), language, picture)


def overlapping(text: str, others: Iterable[str]) -> bool:
    """Whether a text equals, contains or lies inside one of the others."""
    return any(text in other or other in text for other in others)


class Numbers:
    """In the place of a tokenizer: each text is its number, so that a batch tells which texts are in it."""

    start, end = 0, 1

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        return [[2 + place] for place in range(len(texts))]


def read(batches: TextBatches, keys: Sequence[str], count: int) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The texts of so many batches, joined ones as one, with the pictures that each is of."""
    for batch in islice(batches, count):
        for row, share in zip(batch.tokens.tolist(), batch.targets, strict=True):
            text = " ".join(batches.texts[number - 2] for number in row if number >= 2)
            yield text, tuple(keys[place] for place in share.nonzero().flatten().tolist())


def prove_sets(proof: Proof, told: HeldOut, asked: Corpus) -> None:
    """The judge asks exactly what the rules give, in every language; a right answer bears the text."""
    sets = {"names": (told.names, asked.heldout_names), "keywords": (told.keywords, asked.heldout_keywords)}
    for name, (wanted, queries) in sets.items():
        proof.expect(
            f"{name} asked beside those of the rules",
            sorted(_asked(queries) ^ {(s.text, s.language) for s in wanted}),
            [],
        )
        counts = {language: sum(query.language == language for query in queries) for language in LANGUAGES}
        proof.figures[f"{name} by language"] = counts
        proof.expect(f"languages without {name}", [one for one, count in counts.items() if not count], [])
        found = defaultdict(set)
        for said in wanted:
            found[said.text, said.language].add(said.picture)
        lost = [query.text for query in queries if not found[query.text, query.language] & query.right]
        proof.expect(f"{name} without a right picture that tells nothing away", lost, [])
    pairs = {query.text for query in asked.unseen_pairs}
    proof.figures["pairs"] = len(told.pairs)
    proof.expect("pairs of the rules that are not asked", [pair for pair in told.pairs if pair.isdisjoint(pairs)], [])
    proof.expect("pairs asked that the rules do not give", sorted(pairs.difference(*told.pairs)), [])
    # A query is right on every picture that bears its text (the protocol), so also on some that say it in other words.
    of_pictures = defaultdict(set)
    for said in told.keywords:
        of_pictures[said.text].add(said.picture)
    proof.figures["keywords right on further pictures, whose texts overlap"] = sum(
        bool(query.right - of_pictures[query.text]) for query in asked.heldout_keywords
    )


def prove_texts(proof: Proof, told: HeldOut, read_of: Mapping[str, Collection[str]]) -> None:
    """No query is a text that training is handed, and no keyword overlaps with one of its picture."""
    read_anywhere = {text for texts in read_of.values() for text in texts}
    for name, wanted in (("names", told.names), ("keywords", told.keywords)):
        proof.expect(f"{name} among the texts", sorted(s.text for s in wanted if s.text in read_anywhere), [])
    proof.expect("pairs among the texts", sorted(read_anywhere & set[str]().union(*told.pairs)), [])
    overlaps = [said for said in told.keywords if overlapping(said.text, read_of.get(said.picture, ()))]
    proof.expect("keywords that overlap with a text of their picture", sorted(overlaps), [])


def prove_batches(proof: Proof, told: HeldOut, texts: Iterable[tuple[str, tuple[str, ...]]]) -> None:
    """The same of what the batches hold, where texts are also joined."""
    asked = {said.text for said in told.names | told.keywords}.union(*told.pairs)
    keywords = defaultdict(set)
    for said in told.keywords:
        keywords[said.picture].add(said.text)
    equal, seen = set[str](), set[str]()
    overlaps = set[tuple[str, str]]()
    for text, of in texts:
        seen.add(text)
        if text in asked:
            equal.add(text)
        overlaps.update((text, one) for picture in of for one in keywords[picture] if one in text or text in one)
    proof.figures["texts read"] = len(seen)
    proof.expect("queries among the texts of batches", sorted(equal), [])
    proof.expect("texts of batches that overlap with a keyword of their picture", sorted(overlaps), [])


def _texts(material: Material) -> defaultdict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for phrase in (*material.phrases, *material.further):
        found[phrase.picture].add(phrase.text)
    return found


def _asked(queries: Iterable[Query]) -> set[tuple[str, str]]:
    return {(query.text, query.language) for query in queries}


def _chosen(parts: int, text: str) -> bool:
    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "big") % parts == 0

"""What people call the pictures: CLDR's names and keywords, and which of them are never trained on.

The model is asked in 20 languages. In training it also reads what their variants and relatives say.

The rules that hold texts out look at md5 digests of the texts alone, so that every run draws the same line.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal
from xml.etree import ElementTree

from training import sources

# fmt: off
LANGUAGES = ("en", "zh", "es", "de", "fr", "ja", "ko", "ru", "ar", "hi",
             "pt", "it", "tr", "vi", "th", "id", "pl", "nl", "sv", "uk")
# Variants of the 20, and languages that share words or a script with one of them: read in training, never asked in.
FURTHER = (
    "en_001", "en_AU", "en_CA", "en_GB", "en_IN", "es_419", "es_MX", "es_US", "fr_CA", "de_CH", "pt_PT", "hi_Latn",
    "zh_Hant", "zh_Hant_HK", "yue", "yue_Hans",
    "ca", "gl", "ast", "ro", "sc", "af", "lb", "da", "no", "nn",
    "be", "bg", "bs", "cs", "hr", "hsb", "dsb", "mk", "sk", "sl", "sr", "sr_Latn",
    "fa", "ur", "ps", "sd", "ug", "pa_Arab", "mr", "ne", "kok", "ms", "jv", "fil", "az", "tk", "uz",
)
# fmt: on
# What a variant says as its parent does (UTS #35, part 1).
_INHERITED = "↑↑↑"
VARIATION_SELECTOR = "\ufe0f"

Kind = Literal["name", "keyword"]


@dataclass(frozen=True, slots=True)
class Phrase:
    """One text that one language has for one picture; `picture` is its code points without U+FE0F."""

    text: str
    language: str
    picture: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Query:
    """A text to search with, and every picture that is a right answer to it."""

    text: str
    language: str
    right: frozenset[str]


@dataclass(frozen=True, slots=True)
class Corpus:
    """The phrases that are trained on, and sets of queries to judge with; strict keywords are some of the held-out."""

    training: tuple[Phrase, ...]
    own_names: tuple[Query, ...]
    heldout_names: tuple[Query, ...]
    heldout_keywords: tuple[Query, ...]
    strict_keywords: tuple[Query, ...]
    unseen_pairs: tuple[Query, ...]


class Withheld:
    """What no text may say that is joined of several, though each of them may be read."""

    def __init__(self, corpus: Corpus) -> None:
        self._asked = frozenset(query.text for query in (*corpus.heldout_names, *corpus.heldout_keywords))
        self._keywords: defaultdict[str, list[str]] = defaultdict(list)
        for query in corpus.heldout_keywords:
            for picture in query.right:
                self._keywords[picture].append(query.text)

    def allows(self, text: str, pictures: Iterable[str]) -> bool:
        """Whether a text is no query, and neither contains nor lies inside a held-out keyword of the pictures."""
        return text not in self._asked and not any(_overlaps(text, self._keywords.get(one, ())) for one in pictures)


def normalise(text: str) -> str:
    """NFC, case-folded, single-spaced: the form in which texts are trained on and compared."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def keyword_is_held_out(text: str) -> bool:
    """A fifth of the keywords, each in every language and for every picture at once."""
    return _digest("kw" + text) % 5 == 0


def name_is_held_out(picture: str, language: str) -> bool:
    """A tenth of the (picture, language) pairs; `picture` is its code points without U+FE0F."""
    return _digest("n" + picture + language) % 10 == 0


def pair_is_held_out(first: str, second: str) -> bool:
    """A twentieth of the pairs of texts, in either order: training never joins them."""
    return _digest("pair" + "\n".join(sorted((first, second)))) % 20 == 0


def is_held_out(phrase: Phrase) -> bool:
    """Whether training must never see this phrase. A variant, `pt_PT`, holds out the names that its language does."""
    if phrase.kind == "keyword":
        return keyword_is_held_out(phrase.text)
    return name_is_held_out(phrase.picture, phrase.language.partition("_")[0])


def phrases(pictures: Iterable[str], languages: Sequence[str] = LANGUAGES) -> Iterator[Phrase]:
    """Every name and keyword of the pictures, language by language, in CLDR's order."""
    wanted = list(pictures)
    for language in languages:
        names, keywords = read_annotations(language)
        for picture in wanted:
            if picture in names and names[picture] != _INHERITED:
                yield Phrase(normalise(names[picture]), language, picture, "name")
            for keyword in filter(_INHERITED.__ne__, keywords.get(picture, ())):
                yield Phrase(normalise(keyword), language, picture, "keyword")


@cache
def read_annotations(language: str) -> tuple[Mapping[str, str], Mapping[str, tuple[str, ...]]]:
    """CLDR's short names and keywords of a language, by code points without U+FE0F (UTS #35, part 7)."""
    names: dict[str, str] = {}
    keywords: dict[str, tuple[str, ...]] = {}
    for folder in ("annotations", "annotationsDerived"):
        tree = ElementTree.parse(sources.cldr_folder() / folder / f"{language}.xml")
        for entry in tree.iter("annotation"):
            picture = entry.attrib["cp"].replace(VARIATION_SELECTOR, "")
            text = entry.text or ""
            if entry.get("type") == "tts":
                names[picture] = text
            else:
                keywords[picture] = tuple(word.strip() for word in text.split("|"))
    return names, keywords


def corpus(pictures: Iterable[str]) -> Corpus:
    """Splits every phrase of the pictures into what is trained on and what is only asked."""
    keys = list(pictures)
    everything = tuple(phrases(keys))
    training = tuple(phrase for phrase in everything if not is_held_out(phrase))
    heldout = [phrase for phrase in everything if is_held_out(phrase)]
    read = {phrase.text for phrase in training}
    unread = [phrase for phrase in heldout if phrase.text not in read]
    bearers = _bearers(everything)
    texts_of = _texts_by_picture(training)
    clean = [p for p in unread if p.kind == "keyword" and not _overlaps(p.text, texts_of[p.picture])]
    keywords, clean_on = _queries(clean, bearers), _bearers(clean)
    said = bearers.keys() | {phrase.text for phrase in phrases(keys, FURTHER)}
    return Corpus(
        training=training,
        own_names=_queries((p for p in training if p.kind == "name"), bearers),
        heldout_names=_queries((p for p in unread if p.kind == "name"), bearers),
        heldout_keywords=keywords,
        strict_keywords=tuple(query for query in keywords if query.right == clean_on[query.text]),
        unseen_pairs=_unseen_pairs(training, bearers, said),
    )


def further(pictures: Iterable[str], asked: Corpus) -> tuple[Phrase, ...]:
    """What `FURTHER` say of the pictures and the 20 languages do not, without anything that would tell a query away."""
    withheld, read = Withheld(asked), {phrase.text for phrase in asked.training}
    return tuple(
        phrase
        for phrase in phrases(pictures, FURTHER)
        if phrase.text not in read and not is_held_out(phrase) and withheld.allows(phrase.text, (phrase.picture,))
    )


def _queries(chosen: Iterable[Phrase], bearers: Mapping[str, frozenset[str]]) -> tuple[Query, ...]:
    # A text that several pictures bear is one query, right on any of them.
    asked = dict.fromkeys((phrase.text, phrase.language) for phrase in chosen)
    return tuple(Query(text, language, bearers[text]) for text, language in asked)


def _unseen_pairs(
    training: Iterable[Phrase], bearers: Mapping[str, frozenset[str]], said_whole: Collection[str]
) -> tuple[Query, ...]:
    """Two keywords that one language has for one picture, in its order; right is every picture that bears both.

    Pairs that somebody says as one text, in any language that may be read, are left out.
    """
    said: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for phrase in training:
        if phrase.kind == "keyword":
            said[phrase.language, phrase.picture][phrase.text] = None
    found: dict[tuple[frozenset[str], str], Query] = {}
    for (language, _), keywords in said.items():
        for one, other in itertools.combinations(keywords, 2):
            whole = {f"{one} {other}", f"{other} {one}"}
            if pair_is_held_out(one, other) and not _overlaps(one, (other,)) and whole.isdisjoint(said_whole):
                query = Query(f"{one} {other}", language, bearers[one] & bearers[other])
                found.setdefault((frozenset((one, other)), language), query)
    return tuple(found.values())


def _bearers(everything: Iterable[Phrase]) -> dict[str, frozenset[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for phrase in everything:
        found[phrase.text].add(phrase.picture)
    return {text: frozenset(pictures) for text, pictures in found.items()}


def _texts_by_picture(training: Iterable[Phrase]) -> defaultdict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for phrase in training:
        found[phrase.picture].add(phrase.text)
    return found


def _overlaps(text: str, others: Iterable[str]) -> bool:
    return any(text in other or other in text for other in others)


def _digest(text: str) -> int:
    return int(hashlib.md5(text.encode()).hexdigest(), 16)

"""A domain's own words: synonyms and broader terms that texts are also searched by.

A vocabulary is a table, `.csv` or `.tsv`, with the columns `text`, `means` and, where wanted, `relation` (`synonym` or
`broader`) and `weight`:

    text,means,relation
    sneaker,running shoe,synonym
    sneaker,shoe,broader
"""

from __future__ import annotations

import csv
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from math import isfinite
from pathlib import Path

from services.gateway.questions import MAX_TERMS, MAX_TEXT_BYTES, Ensemble, Question, Text, normalise

WEIGHTS = {"synonym": 1.0, "broader": 0.5}
"""What an expansion weighs that brings no weight of its own."""

_DELIMITERS = {".csv": ",", ".tsv": "\t"}
_LETTERS = ("L", "M", "N")  # of Unicode's categories; without marks, words of Hindi and Thai would fall apart


class BadVocabulary(ValueError):
    """The table is wrong; the message names file, line and field."""


class Vocabulary:
    """Expands texts.

    Args:
        relations: for each text what it means, with weights. Texts are compared case-folded.
        share: what all expansions of a text weigh together, of 1, where the text itself weighs the rest.
    """

    def __init__(self, relations: Iterable[tuple[str, str, float]], share: float) -> None:
        known: defaultdict[str, dict[str, float]] = defaultdict(dict)
        for text, means, weight in relations:
            key = _folded(text)
            if _folded(means) != key:
                known[key][normalise(means)] = max(weight, known[key].get(normalise(means), 0.0))
        self._known: Mapping[str, Mapping[str, float]] = dict(known)
        self._longest = max((len(_words(key)) for key in known), default=0)
        self._share = share

    def __len__(self) -> int:
        """How many texts it expands."""
        return len(self._known)

    def knows(self, text: str) -> bool:
        """Returns whether it has the whole text."""
        return _folded(text) in self._known

    def __call__(self, question: Question) -> Question:
        """Returns the question with an ensemble in the place of every text that the vocabulary knows words of."""
        terms = tuple(
            replace(one, term=self._ensemble(one.term)) if isinstance(one.term, Text) else one for one in question.terms
        )
        return question if terms == question.terms else replace(question, terms=terms)

    def expand(self, text: str) -> list[tuple[float, str]]:
        """Returns texts with weights that sum to 1, the given one first, at most 16.

        In each of the others one expression of the vocabulary is replaced by what it means. Of expressions that
        overlap the longest one counts, then the first.
        """
        found: dict[str, float] = {}
        for start, end in self._matches(text):
            for means, weight in self._known[_folded(text[start:end])].items():
                variant = normalise(text[:start] + means + text[end:])
                if _folded(variant) != _folded(text) and len(variant.encode()) <= MAX_TEXT_BYTES:
                    found[variant] = max(weight, found.get(variant, 0.0))
        # By weight, then as the table has them.
        best = sorted(found.items(), key=lambda one: -one[1])[: MAX_TERMS - 1]
        whole = sum(weight for _, weight in best)
        if not whole:
            return [(1.0, text)]
        return [(1 - self._share, text), *((self._share * weight / whole, variant) for variant, weight in best)]

    def _ensemble(self, term: Text) -> Text | Ensemble:
        parts = self.expand(term.text)
        return term if len(parts) == 1 else Ensemble(tuple((weight, Text(text)) for weight, text in parts))

    def _matches(self, text: str) -> Iterator[tuple[int, int]]:
        if self.knows(text):
            yield 0, len(text)
            return
        words = _words(text)
        taken = [False] * len(words)
        for size in range(min(self._longest, len(words)), 0, -1):
            for first in range(len(words) - size + 1):
                start, end = words[first][0], words[first + size - 1][1]
                if not any(taken[first : first + size]) and _folded(text[start:end]) in self._known:
                    taken[first : first + size] = [True] * size
                    yield start, end


def read_vocabulary(file: Path, share: float) -> Vocabulary:
    """Reads a table.

    Raises:
        BadVocabulary: something in it is wrong, or it says nothing.
        OSError: it cannot be read.
    """
    vocabulary = Vocabulary(_rows(file), share)
    if not vocabulary:
        raise BadVocabulary(f"{file}: no row says what a text means")
    return vocabulary


def _rows(file: Path) -> Iterator[tuple[str, str, float]]:
    if file.suffix not in _DELIMITERS:
        raise BadVocabulary(f"{file}: must be a table, .csv or .tsv; training.vocabulary makes one of SKOS")
    with file.open(encoding="utf-8-sig", newline="") as opened:
        rows = csv.DictReader(opened, delimiter=_DELIMITERS[file.suffix], strict=True)
        try:
            known = {"text", "means", "relation", "weight"}
            columns = list(rows.fieldnames or ())
            if wrong := sorted({"text", "means"} - set(columns)) or sorted(set(columns) - known):
                raise BadVocabulary(f"{file}:1: the columns are text, means, relation and weight; see {wrong[0]!r}")
            for row in rows:
                yield _row(row, f"{file}:{rows.line_num}")
        except (csv.Error, UnicodeDecodeError) as error:
            raise BadVocabulary(f"{file}:{rows.line_num + 1}: cannot be read: {error}") from error


def _row(row: Mapping[str | None, str | None], where: str) -> tuple[str, str, float]:
    if None in row or None in row.values():
        raise BadVocabulary(f"{where}: has more or fewer cells than there are columns")
    text, means = (normalise(row[name] or "") for name in ("text", "means"))
    for name, said in (("text", text), ("means", means)):
        if not said or len(said.encode()) > MAX_TEXT_BYTES:
            raise BadVocabulary(f"{where}: {name}: must be 1 to {MAX_TEXT_BYTES:,} bytes")
    relation = row.get("relation") or "synonym"
    if relation not in WEIGHTS:
        raise BadVocabulary(f"{where}: relation: must be one of {', '.join(WEIGHTS)}, is {relation!r}")
    return text, means, _weight(row.get("weight") or str(WEIGHTS[relation]), where)


def _weight(written: str, where: str) -> float:
    try:
        weight = float(written)
    except ValueError:
        weight = 0.0
    if not (isfinite(weight) and 0 < weight <= 1000):
        raise BadVocabulary(f"{where}: weight: must be above 0 and at most 1,000, is {written!r}")
    return weight


def _folded(text: str) -> str:
    return normalise(normalise(text).casefold())


def _words(text: str) -> Sequence[tuple[int, int]]:
    """Where words start and end: runs of letters, marks and digits."""
    found: list[tuple[int, int]] = []
    start = None
    for place, character in enumerate(f"{text} "):
        if unicodedata.category(character)[0] in _LETTERS:
            start = place if start is None else start
        elif start is not None:
            found.append((start, place))
            start = None
    return found

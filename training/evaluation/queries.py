"""What is asked, and what the right answers are: query sets, and the JSONL file that holds one.

    {"about": "Product photos, June", "pool": 20000, "cutoffs": [1, 5, 10]}
    {"id": "q1", "text": "red apple", "right": ["1f34e"], "language": "en", "attributes": {"group": "Food"}}
    {"id": "q2", "terms": [{"image_id": "B0042"}, {"text": "but in red", "weight": 0.5}], "right": {"B0077": 2}}

The first line may say what the set is; every other line is a query. `right` names the images that are right answers:
a list, or an object with a grade of relevance for each, 1 and more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from sightline.queries import ImageId, Part, Text, Weighted
from training.evaluation.lines import BadLine, Record, numbered_records

DEFAULT_CUTOFFS = (1, 5, 10)
TEXT_LIMIT = 16_384
RIGHT_LIMIT = 100_000
TERMS_LIMIT = 16
GRADE_LIMIT = 1_000
CUTOFF_LIMIT = 1_000
WEIGHT_LIMIT = 1_000.0

AttributeValue: TypeAlias = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Query:
    """One question.

    Attributes:
        id: unique in its set; two runs are paired by it.
        text: what people read; the question itself where there are no terms.
        right: grades of relevance, 1 and more, by id of the image; never empty.
        language: such as `en`; may be empty.
        attributes: what figures are broken down by, beside language and length.
        terms: weights and parts of a composed query; empty where the text is all of it.
    """

    id: str
    text: str
    right: Mapping[str, int]
    language: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    terms: tuple[tuple[float, Part], ...] = ()

    @property
    def asked(self) -> Weighted | Text:
        """What is searched for."""
        return Weighted(self.terms) if self.terms else Text(self.text)


@dataclass(frozen=True, slots=True)
class QuerySet:
    """Questions, and what they are.

    Attributes:
        about: in a sentence: the set, its split, its protocol.
        queries: in their order; never empty.
        pool: over how many images the protocol ranks; 0 where it does not say.
        cutoffs: the k of Recall@k that are usual for this set.
    """

    about: str
    queries: tuple[Query, ...]
    pool: int = 0
    cutoffs: tuple[int, ...] = DEFAULT_CUTOFFS


def read_queries(file: Path) -> QuerySet:
    """Reads a JSONL file.

    Raises:
        BadLine: a line is wrong; names the file, the line, the field and the limit.
        OSError: the file cannot be read.
    """
    records = list(numbered_records(file))
    if not records:
        raise BadLine(file, 0, "", "has no lines")
    head = records[0] if {"about", "pool", "cutoffs"} & records[0].keys() else None
    queries = tuple(_distinct(_query(record) for record in (records[1:] if head else records)))
    if not queries:
        raise BadLine(file, 0, "", "has no queries")
    if head is None:
        return QuerySet(file.name, queries)
    head.known("about", "pool", "cutoffs")
    return QuerySet(
        about=head.text("about", TEXT_LIMIT) or file.name,
        queries=queries,
        pool=head.whole("pool", 0, 1 << 40, default=0),
        cutoffs=_cutoffs(head),
    )


def _cutoffs(head: Record) -> tuple[int, ...]:
    given = head.get("cutoffs")
    if given is None:
        return DEFAULT_CUTOFFS
    if not isinstance(given, list) or not given:
        raise head.bad("cutoffs", "must be a list of whole numbers")
    return tuple(sorted({head.whole_of(one, "cutoffs", 1, CUTOFF_LIMIT) for one in given}))


def _distinct(pairs: Iterator[tuple[Record, Query]]) -> Iterator[Query]:
    seen: dict[str, int] = {}
    for record, query in pairs:
        first = seen.setdefault(query.id, record.line)
        if first != record.line:
            raise record.bad("id", f"{query.id!r} is that of line {first} already")
        yield query


def _query(record: Record) -> tuple[Record, Query]:
    record.known("id", "text", "right", "language", "attributes", "terms")
    terms = _terms(record)
    text = record.text("text", TEXT_LIMIT) or " + ".join(_shown(term) for term in terms)
    if not text.strip():
        raise record.bad("text", "missing or empty; a query has a text, or terms")
    query = Query(
        id=record.text("id", 512) or str(record.line),
        text=text,
        right=_right(record),
        language=record.text("language", 64),
        attributes=_attributes(record),
        terms=terms,
    )
    return record, query


def _right(record: Record) -> dict[str, int]:
    given = record.get("right")
    if not isinstance(given, list | dict) or not given:
        raise record.bad("right", "must be a list of ids of images, or an object of grades by id, and not be empty")
    if len(given) > RIGHT_LIMIT:
        raise record.bad("right", f"may name at most {RIGHT_LIMIT:,} images, names {len(given):,}")
    grades = given if isinstance(given, dict) else dict.fromkeys(_strings(record, given), 1)
    found = {record.checked(i, "right", 512): record.whole_of(g, "right", 0, GRADE_LIMIT) for i, g in grades.items()}
    # A grade of 0 is a judgment too: that the image is wrong. So is every image that is not named.
    right = {identifier: grade for identifier, grade in found.items() if grade}
    if not right:
        raise record.bad("right", "needs at least one image with a grade of 1 or more")
    return right


def _strings(record: Record, given: Sequence[Any]) -> Iterator[str]:
    for one in given:
        if not isinstance(one, str) or not one:
            raise record.bad("right", "an id of an image is a text, and not empty")
        yield one


def _attributes(record: Record) -> dict[str, AttributeValue]:
    given = record.get("attributes")
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise record.bad("attributes", "must be an object")
    return {name: _value(record, name, value) for name, value in given.items() if value is not None}


def _value(record: Record, name: str, value: Any) -> AttributeValue:
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return tuple(value)
    if isinstance(value, str | bool | int | float):
        return value
    raise record.bad(f"attributes.{name[:64]}", "must be a text, a number, true or false, or a list of texts")


def _terms(record: Record) -> tuple[tuple[float, Part], ...]:
    given = record.get("terms")
    if given is None:
        return ()
    if not isinstance(given, list) or not 1 <= len(given) <= TERMS_LIMIT:
        raise record.bad("terms", f"must be a list of 1 to {TERMS_LIMIT} terms")
    return tuple(_term(record, term) for term in given)


def _term(record: Record, term: Any) -> tuple[float, Part]:
    kinds = ("text", "image_id")
    said = [kind for kind in kinds if isinstance(term, dict) and isinstance(term.get(kind), str) and term[kind]]
    if len(said) != 1 or term.keys() - {"weight", *kinds}:
        raise record.bad("terms", "a term has a text or an image_id, and may have a weight")
    weight = term.get("weight", 1.0)
    number = isinstance(weight, int | float) and not isinstance(weight, bool)
    if not number or not 0 < abs(weight) <= WEIGHT_LIMIT:
        raise record.bad("terms", f"a weight is a number between -{WEIGHT_LIMIT:,.0f} and {WEIGHT_LIMIT:,.0f}, not 0")
    said_so = record.checked(term[said[0]], "terms", TEXT_LIMIT)
    return float(weight), Text(said_so) if said[0] == "text" else ImageId(said_so)


def _shown(term: tuple[float, Part]) -> str:
    weight, part = term
    words = part.words if isinstance(part, Text) else f"[{part.id}]" if isinstance(part, ImageId) else "[picture]"
    return words if weight == 1 else f"{weight:g} {words}"

"""Figures of parts of a query set: by language, by length, and by each attribute."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from training.evaluation.queries import Query

VALUES_LIMIT = 50
"""An attribute with more values than this is an identifier rather than a kind: it is left out."""

LENGTHS = (8, 16, 32, 64)
"""Bounds of lengths in characters, since not every script sets words apart."""


def slices(queries: Sequence[Query]) -> dict[str, dict[str, list[int]]]:
    """Places of the queries by dimension and value: `language`, `length`, and `attributes.NAME` of each attribute.

    A query with a list as its attribute belongs to each of its values. Dimensions that set nothing apart are left out.
    """
    found: defaultdict[str, defaultdict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for place, query in enumerate(queries):
        found["language"][query.language or "not stated"].append(place)
        found["length"][length_of(query.text)].append(place)
        for name, value in query.attributes.items():
            for one in dict.fromkeys(value) if isinstance(value, tuple) else (value,):
                found[f"attributes.{name}"][str(one).lower() if isinstance(one, bool) else str(one)].append(place)
    return {dimension: _ordered(dimension, of) for dimension, of in found.items() if 1 < len(of) <= VALUES_LIMIT}


def length_of(text: str) -> str:
    """The bucket of a text, such as `8–15`."""
    length = len(text)
    for least, most in zip((1, *LENGTHS), LENGTHS, strict=False):
        if length < most:
            return f"{least}–{most - 1}"
    return f"{LENGTHS[-1]} and more"


def _ordered(dimension: str, of: dict[str, list[int]]) -> dict[str, list[int]]:
    if dimension == "length":
        return {bucket: of[bucket] for bucket in map(length_of, ("x" * n for n in (1, *LENGTHS))) if bucket in of}
    return dict(sorted(of.items(), key=lambda item: (-len(item[1]), item[0])))

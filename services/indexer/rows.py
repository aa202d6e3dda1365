"""What flows from a source into a build: rows, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

# What an attribute can be; the same five types as sightline.v1.AttributeType.
AttributeValue = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One picture to be indexed.

    Attributes:
        id: unique in the collection.
        uri: where the original is, as it will be told to callers.
        location: where the original is read from, as fsspec opens it.
        line: the line of the JSONL file that names it; 0 where there is none.
    """

    id: str
    uri: str
    location: str
    caption: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    line: int = 0

    def refused(self, reason: str) -> Refusal:
        """Why this row is not indexed."""
        return Refusal(self.uri, reason, self.line)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something that a source names is not indexed."""

    uri: str
    reason: str
    line: int = 0

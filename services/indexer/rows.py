"""What flows from a source into a build: rows, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

# What an attribute can be; the same five types as sightline.v1.AttributeType.
AttributeValue = str | int | float | bool | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One picture to be indexed.

    Attributes:
        id: unique in the collection.
        uri: where the original is, as it will be told to callers; empty where the source does not say.
        location: where the original is read from, as fsspec opens it.
        line: the line of the text, or the row of the Parquet file, that names it, from 1; 0 where there is none.
        span: where the picture is a part of `location`: its first byte, and how many it has.
        vector: a ready-made unit vector, float32 [dimension]: then nothing is read or encoded.
    """

    id: str
    uri: str
    location: str
    caption: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    line: int = 0
    span: tuple[int, int] | None = None
    vector: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    def refused(self, reason: str) -> Refusal:
        """Why this row is not indexed."""
        return Refusal(self.uri or self.id, reason, self.line)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something that a source names is not indexed."""

    uri: str
    reason: str
    line: int = 0

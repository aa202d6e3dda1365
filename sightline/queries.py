"""What to look for: words, a picture, an image of the collection, a vector, or a mixture of them.

Everything here is a small frozen value. Parts of a mixture are added, subtracted and scaled like the vectors that they
stand for::

    text("red dress") + 0.5 * image(Path("mine.jpg")) - text("stripes")
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from sightline.filters import Filter


class _Mixable:
    """Arithmetic of queries."""

    __array_ufunc__: ClassVar[None] = None  # numpy's numbers leave the multiplication to us

    def __add__(self, other: Query) -> Weighted:
        return Weighted((*_terms(self), *_terms(other)))

    def __sub__(self, other: Query) -> Weighted:
        return self + -other

    def __mul__(self, weight: float) -> Weighted:
        return Weighted(tuple((weight * own, part) for own, part in _terms(self)))

    def __rmul__(self, weight: float) -> Weighted:
        return self * weight

    def __neg__(self) -> Weighted:
        return self * -1.0


@dataclass(frozen=True)
class Text(_Mixable):
    """Words in any language that the model knows."""

    words: str


@dataclass(frozen=True)
class Picture(_Mixable):
    """An image file: JPEG, PNG, WebP, GIF, …"""

    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ImageId(_Mixable):
    """An image of the collection, by its id. It is among the hits itself."""

    id: str


@dataclass(frozen=True)
class Vector(_Mixable):
    """A vector made by the collection's model: little-endian float32. Only its direction counts."""

    data: bytes = field(repr=False)

    @property
    def values(self) -> NDArray[np.float32]:
        """The vector, float32 [dimension]."""
        return np.frombuffer(self.data, dtype="<f4").astype(np.float32)


Part: TypeAlias = Text | Picture | ImageId | Vector
"""What a mixture is made of."""


@dataclass(frozen=True, init=False)
class Weighted(_Mixable):
    """A mixture: the unit vector of the weighted sum of the parts' unit vectors; a negative weight steers away.

    Args:
        terms: weights and parts, such as ``[(1.0, "dress"), (-0.5, ImageId("7"))]``.
    """

    terms: tuple[tuple[float, Part], ...]

    def __init__(self, terms: Iterable[tuple[float, QueryLike]]) -> None:
        flat = ((weight * own, part) for weight, query in terms for own, part in _terms(as_query(query)))
        object.__setattr__(self, "terms", tuple(flat))


Query: TypeAlias = Text | Picture | ImageId | Vector | Weighted
"""What to look for."""

QueryLike: TypeAlias = Query | str | bytes | Path | NDArray[Any] | Sequence[float]
"""What stands for a query: words (str), an image file (bytes, Path), a vector (array or list of numbers)."""


@dataclass(frozen=True)
class SearchRequest:
    """One question with all its options, for batches and streams. The same as the arguments of `Client.search`."""

    query: QueryLike
    collection: str = ""
    top_k: int = 10
    min_score: float | None = None
    fields: Sequence[str] | None = None
    filter: Filter | None = None
    generation: int = 0
    refuse_partial: bool = False


class SearchOptions(TypedDict, total=False):
    """The options of one question, as keywords."""

    collection: str
    top_k: int
    min_score: float | None
    fields: Sequence[str] | None
    filter: Filter | None
    generation: int
    refuse_partial: bool


RequestLike: TypeAlias = SearchRequest | QueryLike
"""A question, or just what to look for."""


def text(words: str) -> Text:
    """Looks for what the words say."""
    return Text(words)


def image(file: bytes | Path) -> Picture:
    """Looks for what resembles an image file, given by its bytes or its path.

    Raises:
        OSError: the file cannot be read.
    """
    return Picture(file.read_bytes() if isinstance(file, Path) else file)


def vector(values: NDArray[Any] | Sequence[float]) -> Vector:
    """Looks for what lies in the direction of a vector, numbers [dimension].

    Raises:
        TypeError: `values` is not one row of numbers.
    """
    row = np.asarray(values)
    if row.ndim != 1 or row.dtype.kind not in "fiu":
        raise TypeError(f"a vector is one row of numbers, got {row.dtype} of shape {row.shape}")
    return Vector(row.astype("<f4").tobytes())


def as_query(like: QueryLike) -> Query:
    """Returns the query that `like` stands for.

    Raises:
        OSError: it is a path that cannot be read.
        TypeError: it stands for none.
    """
    if isinstance(like, Text | Picture | ImageId | Vector | Weighted):
        return like
    if isinstance(like, str):
        return Text(like)
    if isinstance(like, bytes | Path):
        return image(like)
    return vector(like)


def as_request(like: RequestLike) -> SearchRequest:
    """Returns the question that `like` stands for."""
    return like if isinstance(like, SearchRequest) else SearchRequest(like)


def _terms(query: _Mixable) -> tuple[tuple[float, Part], ...]:
    if isinstance(query, Weighted):
        return query.terms
    assert isinstance(query, Text | Picture | ImageId | Vector)
    return ((1.0, query),)

"""What comes back: frozen values, nothing of the wire."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sightline import _show
from sightline.errors import SightlineError
from sightline.filters import AttributeValue
from sightline.queries import SearchRequest

if TYPE_CHECKING:
    from rich.console import RenderableType


class CacheState(StrEnum):
    """Where an answer came from."""

    UNSPECIFIED = "unspecified"
    MISS = "miss"
    HIT_LOCAL = "hit-local"
    HIT_SHARED = "hit-shared"
    JOINED = "joined"


class AttributeType(StrEnum):
    """The types of attributes."""

    UNSPECIFIED = "unspecified"
    STRING = "string"
    INT = "int"
    DOUBLE = "double"
    BOOL = "bool"
    STRINGS = "strings"


@dataclass(frozen=True)
class Image:
    """One indexed image. `uri` says where the original is; `width` and `height` are its pixels."""

    id: str
    uri: str = ""
    caption: str = ""
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict, hash=False)
    width: int = 0
    height: int = 0


@dataclass(frozen=True)
class StoredImage:
    """One image, its thumbnail (a WebP file of at most 256 pixels a side; empty unless asked for), its generation.

    Printed it is a table; a notebook shows the picture.
    """

    image: Image
    thumbnail: bytes = field(default=b"", repr=False)
    generation: int = 0

    def __str__(self) -> str:
        return _show.stored_as_text(self)

    def _repr_html_(self) -> str:
        return _show.stored_as_html(self)


@dataclass(frozen=True)
class Hit:
    """One image found. `score` is the cosine of the angle between query and image, -1 to 1; `thumbnail` as in
    `StoredImage`, empty unless asked for."""

    id: str
    score: float
    image: Image
    thumbnail: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Coverage:
    """How much of the collection was searched.

    `images_searched` are all images of the shards that answered, whatever the filter; `images_matched` those of them
    that meet it, all where there is none.
    """

    shards_asked: int
    shards_answered: int
    images_searched: int
    images_matched: int = 0

    @property
    def complete(self) -> bool:
        """Whether every shard answered."""
        return self.shards_answered == self.shards_asked


@dataclass(frozen=True)
class Degradation:
    """One way in which an answer is less than it should be: a stable word for programs, a sentence for people."""

    reason: str
    message: str


@dataclass(frozen=True)
class Model:
    """Which model made the vectors. Two models are the same exactly when their digests are."""

    name: str
    digest: str
    dimension: int


@dataclass(frozen=True)
class StageTimes:
    """Where the time of a call went, in microseconds at the server. Stages that did not take place are 0."""

    total_us: int = 0
    cache_us: int = 0
    encode_us: int = 0
    search_us: int = 0
    merge_us: int = 0
    fetch_us: int = 0


@dataclass(frozen=True, repr=False)
class SearchResult:
    """One answer: hits, best first, and how it came about. It is iterated like its hits.

    Printed it is a table; a notebook shows the pictures where the hits have thumbnails.
    """

    hits: tuple[Hit, ...]
    coverage: Coverage
    degraded: tuple[Degradation, ...]
    model: Model
    generation: int
    cache: CacheState
    request_id: str
    times: StageTimes

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, rank: int) -> Hit:
        return self.hits[rank]

    def __bool__(self) -> bool:
        # An answer without hits is still an answer: never mistake it for None.
        return True

    def __repr__(self) -> str:
        best = f", best {self.hits[0].id!r} at {self.hits[0].score:.3f}" if self.hits else ""
        shards = f"{self.coverage.shards_answered} of {self.coverage.shards_asked} shards"
        return (
            f"<SearchResult: {len(self.hits)} hits{best}; {shards}, generation {self.generation}, "
            f"{self.cache}, {self.times.total_us / 1000:.1f} ms>"
        )

    @property
    def summary(self) -> str:
        """How the answer came about, in one line."""
        seen = self.coverage
        matched = f"{seen.images_matched:,} match of " if seen.images_matched < seen.images_searched else ""
        images = f"{matched}{seen.images_searched:,} image{'' if seen.images_searched == 1 else 's'}"
        return (
            f"{len(self.hits)} hit{'' if len(self.hits) == 1 else 's'}; {seen.shards_answered} of {seen.shards_asked} "
            f"shards, {images}, generation {self.generation}, {self.cache}, {self.times.total_us / 1000:.1f} ms"
        )

    def __str__(self) -> str:
        return _show.result_as_text(self)

    def _repr_html_(self) -> str:
        return _show.result_as_html(self)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(str(self))  # IPython's prompt

    def __rich__(self) -> RenderableType:
        from sightline.cli.tables import answer  # noqa: PLC0415  rich is not there in every installation

        return answer(self)


@dataclass(frozen=True)
class Answer:
    """The outcome of one question of a stream."""

    index: int
    """The place of the question in what was asked, from 0."""
    request: SearchRequest
    outcome: SearchResult | SightlineError

    @property
    def result(self) -> SearchResult:
        """The answer.

        Raises:
            SightlineError: there is none.
        """
        if isinstance(self.outcome, SightlineError):
            raise self.outcome
        return self.outcome


@dataclass(frozen=True)
class AttributeField:
    """One attribute of a collection, and how many of its images have it."""

    name: str
    type: AttributeType
    images: int


@dataclass(frozen=True)
class Collection:
    """A searchable set of images, as its current generation describes it."""

    name: str
    model: Model
    images: int
    shards: int
    generation: int
    previous_generation: int
    index: str
    attributes: tuple[AttributeField, ...]

    def __str__(self) -> str:
        return _show.collection_as_text(self)

    def _repr_html_(self) -> str:
        return _show.collection_as_html(self)

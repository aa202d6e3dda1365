"""What callers are answered as JSON: the public contract field by field, as OpenAPI shows it."""

from __future__ import annotations

import base64

from pydantic import BaseModel, Field
from pydantic.json_schema import SkipJsonSchema


class ErrorBody(BaseModel):
    """Why a request, or one item of it, failed."""

    code: str = Field(description="A gRPC status code, such as INVALID_ARGUMENT.")
    reason: str = Field(description="A stable word for programs, such as TOP_K_OUT_OF_RANGE.")
    message: str = Field(description="A sentence for people.")
    field: str = Field(description="The field of the request that is at fault; may be empty.")
    request_id: str = Field(description="What to look for in the service's logs.")


class ImageOut(BaseModel):
    """One indexed image."""

    id: str
    uri: str
    caption: str
    attributes: dict[str, bool | int | float | str | list[str]]
    width: int
    height: int


class HitOut(BaseModel):
    """One image found."""

    id: str
    score: float = Field(description="Cosine of the angle between query and image, -1 to 1.")
    image: ImageOut


class CoverageOut(BaseModel):
    """How much of the collection was searched."""

    shards_asked: int
    shards_answered: int
    images_searched: int = Field(description="All images of the shards that answered, whatever the filter.")
    images_matched: int = Field(description="Those of them that meet the filter; all where there is none.")
    complete: bool


class DegradationOut(BaseModel):
    """One way in which an answer is less than it should be."""

    reason: str
    message: str


class ModelOut(BaseModel):
    """Which model made the vectors."""

    name: str
    digest: str
    dimension: int


class TimesOut(BaseModel):
    """Where the time went, in microseconds."""

    total_us: int
    cache_us: int
    encode_us: int
    search_us: int
    merge_us: int
    fetch_us: int


class SearchOut(BaseModel):
    """One answer."""

    hits: list[HitOut]
    coverage: CoverageOut
    degraded: list[DegradationOut]
    model: ModelOut
    generation: int
    cache: str = Field(description="miss, hit-local, hit-shared or joined.")
    request_id: str
    times: TimesOut


class SearchItem(BaseModel):
    """The outcome of one question: an answer or an error."""

    response: SearchOut | SkipJsonSchema[None] = None
    error: ErrorBody | SkipJsonSchema[None] = None


class BatchOut(BaseModel):
    """An outcome for each question, in the order asked."""

    items: list[SearchItem]


class StreamOut(SearchItem):
    """One line of a stream of answers."""

    correlation_id: str


class StoredOut(BaseModel):
    """One image, and the generation that answered."""

    image: ImageOut
    generation: int
    thumbnail: str | SkipJsonSchema[None] = Field(None, description="A WebP file in base64, if asked for.")


class StoredItem(BaseModel):
    """The outcome for one id: an image or an error."""

    response: StoredOut | SkipJsonSchema[None] = None
    error: ErrorBody | SkipJsonSchema[None] = None


class ImagesOut(BaseModel):
    """An outcome for each id, in the order asked."""

    items: list[StoredItem]


class AttributeOut(BaseModel):
    """One attribute of a collection."""

    name: str
    type: str = Field(description="string, int, double, bool or strings.")
    images: int = Field(description="How many images have it.")


class CollectionOut(BaseModel):
    """A collection, as its current generation describes it."""

    name: str
    model: ModelOut
    images: int
    shards: int
    generation: int
    previous_generation: int
    index: str
    attributes: list[AttributeOut]


class CollectionsOut(BaseModel):
    """All collections, by name."""

    collections: list[CollectionOut]


class EmbedOut(BaseModel):
    """Unit vectors, one for each input."""

    vectors: list[list[float]]
    dimension: int


class StateOut(BaseModel):
    """How this process is."""

    status: str


def encoded(data: bytes) -> str | None:
    """Returns a file as bodies hold it; None where there is none."""
    return base64.b64encode(data).decode("ascii") if data else None

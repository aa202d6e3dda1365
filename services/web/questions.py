"""What callers send as JSON: the public contract field by field, as OpenAPI shows it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

INT64 = 2**63 - 1


def _decoded(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise ValueError("must be base64") from exc


File = Annotated[
    bytes,
    BeforeValidator(_decoded),
    WithJsonSchema({"type": "string", "contentEncoding": "base64", "pattern": "^[A-Za-z0-9+/]*={0,2}$"}),
]
"""An image file."""

Number = Annotated[float, Field(allow_inf_nan=False)]
Id = Annotated[str, Field(min_length=1, max_length=512)]
Generation = Annotated[int, Field(ge=0, le=INT64, description="Answer from exactly this generation; 0 is the current.")]
CollectionName = Annotated[str, Field(max_length=63, description="May be empty where there is exactly one.")]
Fields = Annotated[
    list[str] | None,
    Field(max_length=64, description="Image fields, such as `caption` or `attributes.group`; all without it."),
]
Whole = Annotated[StrictInt, Field(ge=-INT64 - 1, le=INT64)]
Value = StrictBool | Whole | Annotated[StrictFloat, Field(allow_inf_nan=False)] | StrictStr
"""What an attribute is compared with."""


class Body(BaseModel):
    """What callers send. A word that it does not know is refused."""

    model_config = ConfigDict(extra="forbid")


def _exactly_one(body: BaseModel, names: tuple[str, ...]) -> None:
    if sum(getattr(body, name) is not None for name in names) != 1:
        raise ValueError(f"must have exactly one of {', '.join(name.rstrip('_') for name in names)}")


class Part(Body):
    """What a query is made of: exactly one of these."""

    text: str | None = Field(None, min_length=1, max_length=4096, description="Words in any language.")
    image: File | None = Field(None, description="An image file in base64, at most 10 MiB.")
    image_id: Id | None = Field(None, description="The id of an image in the collection.")
    vector: list[Number] | File | None = Field(
        None, description="A vector of the collection's model: numbers, or little-endian float32 in base64."
    )


class Term(Part):
    """One term of a mixture."""

    weight: Number = Field(1.0, description="Negative to steer away; not zero.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("text", "image", "image_id", "vector"))
        return self


class Query(Part):
    """What to look for: exactly one of these."""

    weighted: list[Term] | None = Field(None, min_length=1, max_length=16, description="A mixture of the others.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("text", "image", "image_id", "vector", "weighted"))
        return self


class Range(Body):
    """A range of numbers or texts. An end that is not given is open."""

    at_least: Value | None = None
    less_than: Value | None = None


class Filter(Body):
    """A condition that images must meet: an attribute with exactly one test, or exactly one of `all`, `any`, `none`."""

    attribute: str | None = Field(None, min_length=1, max_length=512)
    equals: Value | None = Field(None, description="The attribute equals this; a list attribute contains it.")
    in_: list[Value] | None = Field(
        None, alias="in", min_length=1, max_length=1024, description="It equals one of these."
    )
    range: Range | None = None
    exists: StrictBool | None = Field(None, description="It is present, or absent.")
    all: list[Filter] | None = Field(None, min_length=1, max_length=64)
    any: list[Filter] | None = Field(None, min_length=1, max_length=64)
    none: list[Filter] | None = Field(None, min_length=1, max_length=64)

    @model_validator(mode="after")
    def _one(self) -> Self:
        tests = ("equals", "in_", "range", "exists")
        if self.attribute is not None:
            _exactly_one(self, tests)
        _exactly_one(self, ("attribute", "all", "any", "none"))
        if self.attribute is None and any_of(self, tests):
            raise ValueError("a test needs an attribute")
        return self


def any_of(body: BaseModel, names: tuple[str, ...]) -> bool:
    """Whether one of these is given."""
    return any(getattr(body, name) is not None for name in names)


class SearchBody(Body):
    """One question."""

    query: Query
    collection: CollectionName = ""
    top_k: int = Field(10, ge=1, le=1000, description="How many hits.")
    min_score: Annotated[Number, Field(ge=-1, le=1)] | None = Field(None, description="Leave out hits that score less.")
    fields: Fields = None
    filter: Filter | None = Field(None, description="Only images that meet this condition.")
    generation: Generation = 0
    refuse_partial: bool = Field(False, description="Fail rather than answer from some of the shards.")


class BatchBody(Body):
    """Several questions."""

    requests: list[SearchBody] = Field(min_length=1, max_length=256)


class StreamLine(Body):
    """One line of a stream of questions."""

    correlation_id: str = Field(min_length=1, max_length=128, description="Given back with the answer.")
    request: SearchBody
    timeout_ms: int = Field(0, ge=0, le=600_000, description="After so long an answer is of no use; 0: the default.")


class ImagesBody(Body):
    """Several images by their ids."""

    ids: list[Id] = Field(min_length=1, max_length=1000, description="At most 64 with thumbnails.")
    fields: Fields = None
    thumbnails: bool = False
    generation: Generation = 0


class EmbedInput(Body):
    """Words or an image file."""

    text: str | None = Field(None, min_length=1, max_length=4096)
    image: File | None = Field(None, description="An image file in base64, at most 10 MiB.")

    @model_validator(mode="after")
    def _one(self) -> Self:
        _exactly_one(self, ("text", "image"))
        return self


class EmbedBody(Body):
    """What to turn into vectors."""

    inputs: list[EmbedInput] = Field(min_length=1, max_length=256)

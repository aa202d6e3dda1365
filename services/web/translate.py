"""Bodies to the SDK's values and back."""

from __future__ import annotations

from collections.abc import Mapping

from services.web import bodies
from services.web.bodies import FILTER_DEPTH
from services.web.errors import body_of
from sightline import ImageId, SearchRequest, Weighted, attribute, filters
from sightline.errors import InvalidArgument, SightlineError
from sightline.filters import AttributeValue, Filter
from sightline.queries import Part, Picture, Query, Text, Vector, vector
from sightline.results import Collection, Image, Model, SearchResult, StoredImage


def request_of(body: bodies.SearchBody) -> SearchRequest:
    """Returns the question that a body asks."""
    return SearchRequest(
        query=query_of(body.query),
        collection=body.collection,
        top_k=body.top_k,
        min_score=body.min_score,
        fields=body.fields,
        filter=None if body.filter is None else filter_of(body.filter),
        generation=body.generation,
        refuse_partial=body.refuse_partial,
    )


def query_of(body: bodies.Query) -> Query:
    """Returns what to look for."""
    if body.weighted is not None:
        return Weighted([(term.weight, _part(term)) for term in body.weighted])
    return _part(body)


def _part(body: bodies.Part) -> Part:
    if body.text is not None:
        return Text(body.text)
    if body.image is not None:
        return Picture(body.image)
    if body.image_id is not None:
        return ImageId(body.image_id)
    return Vector(body.vector) if isinstance(body.vector, bytes) else vector(body.vector or [])


def filter_of(body: bodies.Filter, depth: int = 1) -> Filter:
    """Returns the condition. Raises InvalidArgument where it is nested too deep."""
    if depth > FILTER_DEPTH:
        message = f"may be nested {FILTER_DEPTH} deep at the most"
        raise InvalidArgument(message, reason="FILTER_TOO_DEEP", field="filter")
    for kind, parts in ((filters.All, body.all), (filters.Any, body.any), (filters.Not, body.none)):
        if parts is not None:
            return kind(tuple(filter_of(part, depth + 1) for part in parts))
    tested = attribute(body.attribute or "")
    if body.equals is not None:
        return tested.equals(body.equals)
    if body.in_ is not None:
        return tested.one_of(*body.in_)
    if body.range is not None:
        return tested.between(body.range.at_least, body.range.less_than)
    return tested.exists(bool(body.exists))


def answer_to(result: SearchResult) -> bodies.SearchOut:
    """Returns an answer as a body."""
    seen = result.coverage
    return bodies.SearchOut(
        hits=[bodies.HitOut(id=hit.id, score=hit.score, image=image_to(hit.image)) for hit in result.hits],
        coverage=bodies.CoverageOut(
            shards_asked=seen.shards_asked,
            shards_answered=seen.shards_answered,
            images_searched=seen.images_searched,
            complete=seen.complete,
        ),
        degraded=[bodies.DegradationOut(reason=one.reason, message=one.message) for one in result.degraded],
        model=model_to(result.model),
        generation=result.generation,
        cache=str(result.cache),
        request_id=result.request_id,
        times=bodies.TimesOut.model_validate(result.times, from_attributes=True),
    )


def outcome_to(outcome: SearchResult | SightlineError) -> bodies.SearchItem:
    """Returns the outcome of one question as a body."""
    if isinstance(outcome, SightlineError):
        return bodies.SearchItem(error=error_to(outcome))
    return bodies.SearchItem(response=answer_to(outcome))


def error_to(error: SightlineError) -> bodies.ErrorBody:
    """Returns an error as a body."""
    return bodies.ErrorBody(**body_of(error))


def image_to(image: Image) -> bodies.ImageOut:
    """Returns an image as a body."""
    return bodies.ImageOut(
        id=image.id,
        uri=image.uri,
        caption=image.caption,
        attributes=_attributes(image.attributes),
        width=image.width,
        height=image.height,
    )


def _attributes(given: Mapping[str, AttributeValue]) -> dict[str, bool | int | float | str | list[str]]:
    return {
        name: value if isinstance(value, bool | int | float | str) else list(value) for name, value in given.items()
    }


def stored_to(stored: StoredImage) -> bodies.StoredOut:
    """Returns a stored image as a body."""
    return bodies.StoredOut(
        image=image_to(stored.image), generation=stored.generation, thumbnail=bodies.encoded(stored.thumbnail)
    )


def stored_item_to(outcome: StoredImage | SightlineError) -> bodies.StoredItem:
    """Returns the outcome for one id as a body."""
    if isinstance(outcome, SightlineError):
        return bodies.StoredItem(error=error_to(outcome))
    return bodies.StoredItem(response=stored_to(outcome))


def model_to(model: Model) -> bodies.ModelOut:
    """Returns a model as a body."""
    return bodies.ModelOut(name=model.name, digest=model.digest, dimension=model.dimension)


def collection_to(collection: Collection) -> bodies.CollectionOut:
    """Returns a collection as a body."""
    return bodies.CollectionOut(
        name=collection.name,
        model=model_to(collection.model),
        images=collection.images,
        shards=collection.shards,
        generation=collection.generation,
        previous_generation=collection.previous_generation,
        index=collection.index,
        attributes=[
            bodies.AttributeOut(name=one.name, type=str(one.type), images=one.images) for one in collection.attributes
        ],
    )

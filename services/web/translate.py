"""Bodies to the SDK's values and back."""

from __future__ import annotations

from collections.abc import Mapping

from services.web import answers, questions
from services.web.errors import body_of
from sightline import ImageId, SearchRequest, Weighted, attribute, filters
from sightline._filtering import MAX_DEPTH
from sightline.errors import InvalidArgument, SightlineError
from sightline.filters import AttributeValue, Filter
from sightline.queries import Part, Picture, Query, Text, Vector, vector
from sightline.results import Collection, Image, Model, SearchResult, StoredImage


def request_of(body: questions.SearchBody) -> SearchRequest:
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


def query_of(body: questions.Query) -> Query:
    """Returns what to look for."""
    if body.weighted is not None:
        return Weighted([(term.weight, _part(term)) for term in body.weighted])
    return _part(body)


def _part(body: questions.Part) -> Part:
    if body.text is not None:
        return Text(body.text)
    if body.image is not None:
        return Picture(body.image)
    if body.image_id is not None:
        return ImageId(body.image_id)
    return Vector(body.vector) if isinstance(body.vector, bytes) else vector(body.vector or [])


def filter_of(body: questions.Filter, depth: int = 1) -> Filter:
    """Returns the condition. Raises InvalidArgument where it is nested too deep."""
    if depth > MAX_DEPTH:
        raise InvalidArgument(f"at most {MAX_DEPTH} levels deep", reason="FILTER_TOO_DEEP", field="filter")
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


def answer_to(result: SearchResult) -> answers.SearchOut:
    """Returns an answer as a body."""
    seen = result.coverage
    return answers.SearchOut(
        hits=[answers.HitOut(id=hit.id, score=hit.score, image=image_to(hit.image)) for hit in result.hits],
        coverage=answers.CoverageOut(
            shards_asked=seen.shards_asked,
            shards_answered=seen.shards_answered,
            images_searched=seen.images_searched,
            images_matched=seen.images_matched,
            complete=seen.complete,
        ),
        degraded=[answers.DegradationOut(reason=one.reason, message=one.message) for one in result.degraded],
        model=model_to(result.model),
        generation=result.generation,
        cache=str(result.cache),
        request_id=result.request_id,
        times=answers.TimesOut.model_validate(result.times, from_attributes=True),
    )


def outcome_to(outcome: SearchResult | SightlineError) -> answers.SearchItem:
    """Returns the outcome of one question as a body."""
    if isinstance(outcome, SightlineError):
        return answers.SearchItem(error=error_to(outcome))
    return answers.SearchItem(response=answer_to(outcome))


def error_to(error: SightlineError) -> answers.ErrorBody:
    """Returns an error as a body."""
    return answers.ErrorBody(**body_of(error))


def image_to(image: Image) -> answers.ImageOut:
    """Returns an image as a body."""
    return answers.ImageOut(
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


def stored_to(stored: StoredImage) -> answers.StoredOut:
    """Returns a stored image as a body."""
    return answers.StoredOut(
        image=image_to(stored.image), generation=stored.generation, thumbnail=answers.encoded(stored.thumbnail)
    )


def stored_item_to(outcome: StoredImage | SightlineError) -> answers.StoredItem:
    """Returns the outcome for one id as a body."""
    if isinstance(outcome, SightlineError):
        return answers.StoredItem(error=error_to(outcome))
    return answers.StoredItem(response=stored_to(outcome))


def model_to(model: Model) -> answers.ModelOut:
    """Returns a model as a body."""
    return answers.ModelOut(name=model.name, digest=model.digest, dimension=model.dimension)


def collection_to(collection: Collection) -> answers.CollectionOut:
    """Returns a collection as a body."""
    return answers.CollectionOut(
        name=collection.name,
        model=model_to(collection.model),
        images=collection.images,
        shards=collection.shards,
        generation=collection.generation,
        previous_generation=collection.previous_generation,
        index=collection.index,
        attributes=[
            answers.AttributeOut(name=one.name, type=str(one.type), images=one.images) for one in collection.attributes
        ],
    )

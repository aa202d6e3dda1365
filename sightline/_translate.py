"""The one border between values and messages: what is asked goes out, what is answered comes in."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.field_mask_pb2 import FieldMask

from sightline._filter_messages import from_value, to_filter
from sightline.errors import InvalidArgument, SightlineError, error_for
from sightline.queries import ImageId, Part, Picture, SearchRequest, Text, Vector, Weighted, as_query
from sightline.results import (
    AttributeField,
    AttributeType,
    CacheState,
    Collection,
    Coverage,
    Degradation,
    Hit,
    Image,
    Model,
    SearchResult,
    StageTimes,
    StoredImage,
)
from sightline.v1 import collection_pb2, common_pb2, embed_pb2, image_pb2, search_pb2

_CACHE_STATES = {
    search_pb2.CACHE_STATE_MISS: CacheState.MISS,
    search_pb2.CACHE_STATE_HIT_LOCAL: CacheState.HIT_LOCAL,
    search_pb2.CACHE_STATE_HIT_SHARED: CacheState.HIT_SHARED,
    search_pb2.CACHE_STATE_JOINED: CacheState.JOINED,
}
_ATTRIBUTE_TYPES = {
    collection_pb2.ATTRIBUTE_TYPE_STRING: AttributeType.STRING,
    collection_pb2.ATTRIBUTE_TYPE_INT: AttributeType.INT,
    collection_pb2.ATTRIBUTE_TYPE_DOUBLE: AttributeType.DOUBLE,
    collection_pb2.ATTRIBUTE_TYPE_BOOL: AttributeType.BOOL,
    collection_pb2.ATTRIBUTE_TYPE_STRINGS: AttributeType.STRINGS,
}


# What is asked.


def to_request(request: SearchRequest) -> search_pb2.SearchRequest:
    """Returns the message of a question.

    Raises:
        InvalidArgument: a number of it has no place in the message. All other limits are the server's to name.
    """
    _check_unsigned("top_k", request.top_k, 32)
    _check_unsigned("generation", request.generation, 64)
    return search_pb2.SearchRequest(
        collection=request.collection,
        query=_checked_query(as_query(request.query)),
        top_k=request.top_k,
        min_score=request.min_score,
        fields=to_fields(request.fields),
        filter=None if request.filter is None else to_filter(request.filter),
        generation=request.generation,
        refuse_partial=request.refuse_partial,
    )


def _check_unsigned(field: str, number: int, bits: int) -> None:
    if not 0 <= number < 2**bits:
        raise InvalidArgument(f"must be 0 to 2^{bits} - 1, got {number}", reason="OUT_OF_RANGE", field=field)


def _checked_query(query: Part | Weighted) -> search_pb2.Query:
    try:
        return to_query(query)
    except UnicodeEncodeError as exc:
        raise InvalidArgument("must be text that UTF-8 can write", reason="NOT_UTF8", field="query") from exc


def to_fields(fields: Sequence[str] | None) -> FieldMask | None:
    """Returns the message of the fields to return; None for all of them."""
    return None if fields is None else FieldMask(paths=fields)


def to_query(query: Part | Weighted) -> search_pb2.Query:
    """Returns the message of what to look for."""
    if isinstance(query, Weighted):
        terms = [_to_term(weight, part) for weight, part in query.terms]
        return search_pb2.Query(weighted=search_pb2.WeightedQuery(terms=terms))
    match query:
        case Text(words):
            return search_pb2.Query(text=words)
        case Picture(data):
            return search_pb2.Query(image=data)
        case ImageId(known):
            return search_pb2.Query(image_id=known)
        case Vector(data):
            return search_pb2.Query(vector=common_pb2.Vector(values=data))


def _to_term(weight: float, part: Part) -> search_pb2.WeightedTerm:
    match part:
        case Text(words):
            return search_pb2.WeightedTerm(weight=weight, text=words)
        case Picture(data):
            return search_pb2.WeightedTerm(weight=weight, image=data)
        case ImageId(known):
            return search_pb2.WeightedTerm(weight=weight, image_id=known)
        case Vector(data):
            return search_pb2.WeightedTerm(weight=weight, vector=common_pb2.Vector(values=data))


def to_input(part: Text | Picture) -> embed_pb2.EmbedInput:
    """Returns the message of what is to become a vector."""
    if isinstance(part, Picture):
        return embed_pb2.EmbedInput(image=part.data)
    try:
        return embed_pb2.EmbedInput(text=part.words)
    except UnicodeEncodeError as exc:
        raise InvalidArgument("must be text that UTF-8 can write", reason="NOT_UTF8", field="inputs") from exc


# What is answered.


def from_response(message: search_pb2.SearchResponse) -> SearchResult:
    """Returns the answer that the message holds."""
    seen = message.coverage
    times = message.times
    return SearchResult(
        hits=tuple(Hit(hit.id, hit.score, from_image(hit.image, hit.id)) for hit in message.hits),
        coverage=Coverage(seen.shards_asked, seen.shards_answered, seen.images_searched, seen.images_matched),
        degraded=tuple(Degradation(one.reason, one.message) for one in message.degraded),
        model=from_model(message.model),
        generation=message.generation,
        cache=_CACHE_STATES.get(message.cache, CacheState.UNSPECIFIED),
        request_id=message.request_id,
        times=StageTimes(
            total_us=times.total_us,
            cache_us=times.cache_us,
            encode_us=times.encode_us,
            search_us=times.search_us,
            merge_us=times.merge_us,
            fetch_us=times.fetch_us,
        ),
    )


def from_image(message: common_pb2.Image, known_id: str = "") -> Image:
    """Returns the image that the message holds, or, where its fields are missing, one of the id that is known."""
    return Image(
        id=message.id or known_id,
        uri=message.uri,
        caption=message.caption,
        attributes={name: from_value(value) for name, value in message.attributes.items()},
        width=message.width,
        height=message.height,
    )


def from_model(message: common_pb2.Model) -> Model:
    """Returns the model that the message names."""
    return Model(message.name, message.digest, message.dimension)


def from_stored(message: image_pb2.GetImageResponse) -> StoredImage:
    """Returns the stored image that the message holds."""
    return StoredImage(from_image(message.image), message.thumbnail, message.generation)


def from_collection(message: collection_pb2.Collection) -> Collection:
    """Returns the collection that the message describes."""
    return Collection(
        name=message.name,
        model=from_model(message.model),
        images=message.images,
        shards=message.shards,
        generation=message.generation,
        previous_generation=message.previous_generation,
        index=message.index,
        attributes=tuple(
            AttributeField(one.name, _ATTRIBUTE_TYPES.get(one.type, AttributeType.UNSPECIFIED), one.images)
            for one in message.attributes
        ),
    )


def from_error(message: common_pb2.Error) -> SightlineError:
    """Returns the error that the message stands for."""
    return error_for(message.code, message.message, reason=message.reason, field=message.field)


def from_search_item(
    item: search_pb2.SearchBatchItem | search_pb2.SearchStreamResponse,
) -> SearchResult | SightlineError:
    """Returns the outcome of one question."""
    return from_error(item.error) if item.HasField("error") else from_response(item.response)


def from_stored_item(item: image_pb2.BatchGetImagesItem) -> StoredImage | SightlineError:
    """Returns the outcome for one id."""
    return from_error(item.error) if item.HasField("error") else from_stored(item.response)

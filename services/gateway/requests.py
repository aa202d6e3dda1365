"""Requests, checked: what leaves here is right in itself, and each fault names its field and the limit."""

from __future__ import annotations

import math
from collections.abc import Sequence

from services.gateway.questions import (
    MAX_IMAGE_BYTES,
    MAX_TERMS,
    MAX_TEXT_BYTES,
    MAX_TOP_K,
    Direction,
    Picture,
    Question,
    Stored,
    Term,
    Text,
    WeightedTerm,
    normalise,
)
from services.store import check_id
from sightline._filter_messages import from_filter
from sightline._filtering import check_filter
from sightline.errors import InvalidArgument
from sightline.filters import Filter
from sightline.v1 import search_pb2

DEFAULT_TOP_K = 10
IMAGE_FIELDS = ("id", "uri", "caption", "attributes", "width", "height")


def question(request: search_pb2.SearchRequest) -> Question:
    """Returns the question that a request asks.

    Raises:
        InvalidArgument: names the field and its limit.
    """
    top_k = request.top_k if request.HasField("top_k") else DEFAULT_TOP_K
    if not 1 <= top_k <= MAX_TOP_K:
        raise InvalidArgument(f"must be 1 to {MAX_TOP_K:,}, got {top_k:,}", reason="TOP_K_OUT_OF_RANGE", field="top_k")
    return Question(
        collection=request.collection,
        terms=_terms(request.query),
        k=top_k,
        min_score=_min_score(request),
        fields=fields(request.fields.paths),
        generation=request.generation,
        refuse_partial=request.refuse_partial,
        condition=_condition(request),
    )


def fields(paths: Sequence[str]) -> tuple[str, ...]:
    """Returns the image fields to keep, each once, in one order; none for all of them."""
    for path in paths:
        if path not in IMAGE_FIELDS and not (path.startswith("attributes.") and path != "attributes."):
            known = ", ".join(IMAGE_FIELDS)
            message = f"an image has no field {path[:80]!r}; it has {known} and attributes.<name>"
            raise InvalidArgument(message, reason="UNKNOWN_FIELD", field="fields")
    return tuple(sorted(set(paths)))


def text(words: str, field: str) -> Text:
    """Returns the words as a term."""
    if len(words.encode()) > MAX_TEXT_BYTES:
        message = f"must be at most {MAX_TEXT_BYTES:,} bytes of UTF-8, got {len(words.encode()):,}"
        raise InvalidArgument(message, reason="TEXT_TOO_LONG", field=field)
    normal = normalise(words)
    if not normal:
        message = f"must not be empty or blank: 1 to {MAX_TEXT_BYTES:,} bytes of UTF-8"
        raise InvalidArgument(message, reason="TEXT_EMPTY", field=field)
    return Text(normal)


def image(data: bytes, field: str) -> Picture:
    """Returns the image file as a term. Whether it can be read is seen by the encoder."""
    if not data:
        raise InvalidArgument("must not be empty", reason="IMAGE_EMPTY", field=field)
    if len(data) > MAX_IMAGE_BYTES:
        message = f"must be at most {MAX_IMAGE_BYTES:,} bytes, got {len(data):,}"
        raise InvalidArgument(message, reason="IMAGE_TOO_LARGE", field=field)
    return Picture(data)


def _terms(query: search_pb2.Query) -> tuple[WeightedTerm, ...]:
    if query.WhichOneof("kind") != "weighted":
        return (_term(query, 1.0, "query"),)
    terms = query.weighted.terms
    if not 1 <= len(terms) <= MAX_TERMS:
        message = f"must be 1 to {MAX_TERMS} terms, got {len(terms)}"
        raise InvalidArgument(message, reason="TERMS_OUT_OF_RANGE", field="query.weighted.terms")
    return tuple(_term(one, one.weight, f"query.weighted.terms[{place}]") for place, one in enumerate(terms))


def _term(one: search_pb2.Query | search_pb2.WeightedTerm, weight: float, path: str) -> WeightedTerm:
    if not math.isfinite(weight) or weight == 0:
        message = f"must be finite and not zero, got {weight}"
        raise InvalidArgument(message, reason="WEIGHT_OUT_OF_RANGE", field=f"{path}.weight")
    kind = one.WhichOneof("kind")
    field = f"{path}.{kind}"
    term: Term
    match kind:
        case "text":
            term = text(one.text, field)
        case "image":
            term = image(one.image, field)
        case "image_id":
            check_id(one.image_id, field=field)
            term = Stored(one.image_id)
        case "vector":
            term = Direction(one.vector.values)
        case _:
            message = "must be a text, an image, the id of an image, a vector, or a weighted list of these"
            raise InvalidArgument(message, reason="QUERY_EMPTY", field=path)
    return WeightedTerm(weight, term, field)


def _min_score(request: search_pb2.SearchRequest) -> float | None:
    if not request.HasField("min_score"):
        return None
    if not -1 <= request.min_score <= 1:
        message = f"must be -1 to 1, got {request.min_score}"
        raise InvalidArgument(message, reason="MIN_SCORE_OUT_OF_RANGE", field="min_score")
    return request.min_score


def _condition(request: search_pb2.SearchRequest) -> Filter | None:
    """Returns the filter, right in itself. Whether it is right for the collection is seen where that is known."""
    if not request.HasField("filter"):
        return None
    condition = from_filter(request.filter)
    check_filter(condition)
    return condition

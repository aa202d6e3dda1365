"""Replies, put together from parts that are already bytes.

A protobuf message is the sum of its fields: documents are spliced in as the index stores them, and a body as the cache
holds it gets the fields of this one call appended. The one place that relies on it; a test compares the twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from services.gateway.answers import Answer, Reply, Times
from services.runtime.wire import error_to_message
from sightline.internal.v1 import splice_pb2
from sightline.v1 import common_pb2, search_pb2


def body(answer: Answer, fields: Sequence[str]) -> bytes:
    """Returns the part of a SearchResponse that is the same for every caller, with the image fields asked for."""
    message = splice_pb2.SplicedSearchBody(
        hits=[
            splice_pb2.SplicedHit(id=hit.id.decode(), score=hit.score, image=project(hit.document, fields))
            for hit in answer.hits
        ],
        coverage=search_pb2.Coverage(
            shards_asked=answer.shards_asked,
            shards_answered=answer.shards_answered,
            images_searched=answer.images_searched,
            images_matched=answer.images_matched,
        ),
        degraded=[search_pb2.Degradation(reason=reason, message=sentence) for reason, sentence in answer.degraded],
        model=common_pb2.Model(name=answer.model.name, digest=answer.model.digest, dimension=answer.model.dimension),
        generation=answer.generation,
    )
    return message.SerializeToString()


def reply(answered: Reply, request_id: str) -> bytes:
    """Returns the whole SearchResponse of one call."""
    tail = search_pb2.SearchResponse(
        cache=cast("search_pb2.CacheState.ValueType", answered.source.value),
        request_id=request_id,
        times=_times(answered.times),
    )
    return answered.body + tail.SerializeToString()


def batch(outcomes: Sequence[bytes | Exception]) -> bytes:
    """Returns the SearchBatchResponse."""
    items = [
        splice_pb2.SplicedSearchBatchItem(error=error_to_message(one))
        if isinstance(one, Exception)
        else splice_pb2.SplicedSearchBatchItem(response=one)
        for one in outcomes
    ]
    return splice_pb2.SplicedSearchBatchResponse(items=items).SerializeToString()


def streamed(correlation_id: str, outcome: bytes | Exception) -> bytes:
    """Returns one SearchStreamResponse."""
    message = splice_pb2.SplicedSearchStreamResponse(correlation_id=correlation_id)
    if isinstance(outcome, Exception):
        message.error.CopyFrom(error_to_message(outcome))
    else:
        message.response = outcome
    return message.SerializeToString()


def project(document: bytes, fields: Sequence[str]) -> bytes:
    """Returns the serialised Image with its id and the fields asked for; untouched where none are named."""
    if not fields or not document:
        return document
    stored = common_pb2.Image.FromString(document)
    kept = common_pb2.Image(id=stored.id)
    for name in fields:
        if name.startswith("attributes."):
            key = name.removeprefix("attributes.")
            if key in stored.attributes:
                kept.attributes[key].CopyFrom(stored.attributes[key])
        elif name == "attributes":
            kept.MergeFrom(common_pb2.Image(attributes=stored.attributes))
        else:
            setattr(kept, name, getattr(stored, name))
    return kept.SerializeToString(deterministic=True)


def _times(times: Times) -> search_pb2.StageTimes:
    return search_pb2.StageTimes(
        total_us=round(times.total * 1e6),
        cache_us=round(times.cache * 1e6),
        encode_us=round(times.encode * 1e6),
        search_us=round(times.search * 1e6),
        merge_us=round(times.merge * 1e6),
        fetch_us=round(times.fetch * 1e6),
    )

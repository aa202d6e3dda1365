"""A small server of the public contract over a FakeClient: what the SDK is tested against."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from services.runtime.gate import Gate
from services.runtime.interceptor import Border
from services.runtime.keys import Keys
from services.runtime.wire import error_to_message, vector_to_bytes
from sightline import FakeClient
from sightline._channel import MAX_MESSAGE
from sightline._filter_messages import from_filter, to_value
from sightline.errors import InvalidArgument, SightlineError, Unimplemented
from sightline.queries import ImageId, Part, Picture, Query, SearchRequest, Text, Vector, Weighted
from sightline.results import AttributeType, Collection, Image, SearchResult, StoredImage
from sightline.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    common_pb2,
    embed_pb2,
    embed_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

TYPES = {kind: collection_pb2.AttributeType.Value(f"ATTRIBUTE_TYPE_{kind.name}") for kind in AttributeType}


class Servicer(search_pb2_grpc.SearchServiceServicer, embed_pb2_grpc.EmbedServiceServicer):
    """Answers from the fake; streams end after `stream_length` answers, and may leave questions unanswered."""

    def __init__(self, fake: FakeClient) -> None:
        self.fake = fake
        self.metadata: list[dict[str, str]] = []
        self.stream_length = 0
        self.streams = 0
        self.received = 0
        self.silent = False
        self.stream_error: SightlineError | None = None

    async def Search(self, request: Any, context: Any) -> search_pb2.SearchResponse:
        self.metadata.append(dict(context.invocation_metadata()))
        if self.silent:
            await asyncio.sleep(60)
        known = self.metadata[-1].get("x-request-id")
        return response(await self.fake._search(question(request), None, known))

    async def SearchBatch(self, request: Any, context: Any) -> search_pb2.SearchBatchResponse:
        assert len(request.requests) <= 256
        outcomes = await self.fake.search_batch([question(one) for one in request.requests])
        return search_pb2.SearchBatchResponse(items=[search_pb2.SearchBatchItem(**outcome(one)) for one in outcomes])

    async def SearchStream(self, requests: Any, context: Any) -> AsyncIterator[search_pb2.SearchStreamResponse]:
        self.streams += 1
        answered = 0
        if self.stream_error:
            raise self.stream_error
        async for request in requests:
            self.received += 1
            if self.silent:
                continue
            try:
                result: SearchResult | SightlineError = await self.fake._search(question(request.request), None, None)
            except SightlineError as error:
                result = error
            yield search_pb2.SearchStreamResponse(correlation_id=request.correlation_id, **outcome(result))
            answered += 1
            if answered == self.stream_length:
                return

    async def Embed(self, request: Any, context: Any) -> embed_pb2.EmbedResponse:
        if not request.inputs:
            raise InvalidArgument("must be 1 to 256 of them, got 0", reason="COUNT_OUT_OF_RANGE", field="inputs")
        items = []
        for place, one in enumerate(request.inputs):
            kind = one.WhichOneof("kind")
            try:
                rows = await self.fake.embed(
                    [one.text] if kind == "text" else [], [one.image] if kind == "image" else []
                )
                items.append(embed_pb2.EmbedItem(vector=common_pb2.Vector(values=vector_to_bytes(rows[0]))))
            except SightlineError as error:
                told = error_to_message(error)
                told.field = told.field.replace("inputs[0]", f"inputs[{place}]")
                items.append(embed_pb2.EmbedItem(error=told))
        return embed_pb2.EmbedResponse(items=items)


class Images(image_pb2_grpc.ImageServiceServicer):
    """Reads the fake's images."""

    def __init__(self, fake: FakeClient) -> None:
        self.fake = fake

    async def Get(self, request: Any, context: Any) -> image_pb2.GetImageResponse:
        stored = await self.fake.get(
            request.id,
            collection=request.collection,
            thumbnail=request.thumbnail,
            fields=list(request.fields.paths),
            generation=request.generation,
        )
        return image_response(stored)

    async def BatchGet(self, request: Any, context: Any) -> image_pb2.BatchGetImagesResponse:
        assert len(request.ids) <= (64 if request.thumbnails else 1000)
        found = await self.fake.get_many(
            list(request.ids),
            collection=request.collection,
            thumbnails=request.thumbnails,
            fields=list(request.fields.paths),
            generation=request.generation,
        )
        items = [
            image_pb2.BatchGetImagesItem(error=error_to_message(one))
            if isinstance(one, SightlineError)
            else image_pb2.BatchGetImagesItem(response=image_response(one))
            for one in found
        ]
        return image_pb2.BatchGetImagesResponse(items=items)

    def Upsert(self, request: Any, context: Any) -> Any:
        raise Unimplemented("collections change by publishing a generation")

    def Delete(self, request: Any, context: Any) -> Any:
        raise Unimplemented("collections change by publishing a generation")


class Collections(collection_pb2_grpc.CollectionServiceServicer):
    """Describes the fake's collection."""

    def __init__(self, fake: FakeClient) -> None:
        self.fake = fake

    async def Get(self, request: Any, context: Any) -> collection_pb2.GetCollectionResponse:
        found = await self.fake.collection(request.collection)
        return collection_pb2.GetCollectionResponse(collection=collection(found))

    async def List(self, request: Any, context: Any) -> collection_pb2.ListCollectionsResponse:
        found = await self.fake.collections()
        return collection_pb2.ListCollectionsResponse(collections=[collection(one) for one in found])


@asynccontextmanager
async def served(
    servicer: Servicer,
    listen: str = "127.0.0.1:0",
    *,
    keys: Keys | None = None,
    credentials: grpc.ServerCredentials | None = None,
    **options: int,
) -> AsyncIterator[str]:
    """Serves until the end of the block; gives the address. Options are channel arguments without their `grpc.`."""
    limit = ("grpc.max_receive_message_length", MAX_MESSAGE)
    arguments = [("grpc.so_reuseport", 0), limit, *((f"grpc.{name}", value) for name, value in options.items())]
    server = grpc.aio.server(interceptors=[Gate(keys), Border()] if keys else [Border()], options=arguments)
    search_pb2_grpc.add_SearchServiceServicer_to_server(servicer, server)
    image_pb2_grpc.add_ImageServiceServicer_to_server(Images(servicer.fake), server)
    collection_pb2_grpc.add_CollectionServiceServicer_to_server(Collections(servicer.fake), server)
    embed_pb2_grpc.add_EmbedServiceServicer_to_server(servicer, server)
    state = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    await state.set("", health_pb2.HealthCheckResponse.SERVING)
    port = server.add_secure_port(listen, credentials) if credentials else server.add_insecure_port(listen)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@contextmanager
def served_apart(servicer: Servicer) -> Iterator[str]:
    """Serves in a loop and a thread apart, for clients that have a loop of their own; gives the address."""
    listening: queue.Queue[str] = queue.Queue()
    over = threading.Event()

    async def serve() -> None:
        async with served(servicer) as address:
            listening.put(address)
            await asyncio.to_thread(over.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        yield listening.get(timeout=20)
    finally:
        over.set()
        thread.join()


def question(message: search_pb2.SearchRequest) -> SearchRequest:
    return SearchRequest(
        query=query(message.query),
        collection=message.collection,
        top_k=message.top_k if message.HasField("top_k") else 10,
        min_score=message.min_score if message.HasField("min_score") else None,
        fields=list(message.fields.paths),
        filter=from_filter(message.filter) if message.HasField("filter") else None,
        generation=message.generation,
        refuse_partial=message.refuse_partial,
    )


def query(message: search_pb2.Query) -> Query:
    if message.WhichOneof("kind") == "weighted":
        return Weighted([(term.weight, part(term)) for term in message.weighted.terms])
    return part(message)


def part(message: search_pb2.Query | search_pb2.WeightedTerm) -> Part:
    match message.WhichOneof("kind"):
        case "image":
            return Picture(message.image)
        case "image_id":
            return ImageId(message.image_id)
        case "vector":
            return Vector(message.vector.values)
        case _:
            return Text(message.text)


def outcome(result: SearchResult | SightlineError) -> dict[str, Any]:
    if isinstance(result, SightlineError):
        return {"error": error_to_message(result)}
    return {"response": response(result)}


def response(result: SearchResult) -> search_pb2.SearchResponse:
    return search_pb2.SearchResponse(
        hits=[search_pb2.Hit(id=hit.id, score=hit.score, image=picture(hit.image)) for hit in result.hits],
        coverage=search_pb2.Coverage(**vars(result.coverage)),
        degraded=[search_pb2.Degradation(**vars(one)) for one in result.degraded],
        model=common_pb2.Model(**vars(result.model)),
        generation=result.generation,
        cache=search_pb2.CACHE_STATE_MISS,
        request_id=result.request_id,
        times=search_pb2.StageTimes(**vars(result.times)),
    )


def picture(one: Image) -> common_pb2.Image:
    attributes = {name: to_value(value) for name, value in one.attributes.items()}
    return common_pb2.Image(**{**vars(one), "attributes": attributes})


def image_response(stored: StoredImage) -> image_pb2.GetImageResponse:
    return image_pb2.GetImageResponse(
        image=picture(stored.image), thumbnail=stored.thumbnail, generation=stored.generation
    )


def collection(one: Collection) -> collection_pb2.Collection:
    attributes = [
        collection_pb2.AttributeField(**{**vars(field), "type": TYPES[field.type]}) for field in one.attributes
    ]
    known = {**vars(one), "model": common_pb2.Model(**vars(one.model)), "attributes": attributes}
    return collection_pb2.Collection(**known)

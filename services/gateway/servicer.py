"""The public services: messages in, messages out. What happens between is in search.py."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import asdict
from typing import Any

import grpc

from services.gateway import requests, splice
from services.gateway.answers import Reply
from services.gateway.catalog import Catalog
from services.gateway.encoder import Encoders
from services.gateway.metrics import counted
from services.gateway.search import Search, currently
from services.gateway.searchers import SearcherGroups
from services.gateway.streaming import Stream
from services.runtime.logs import request_id
from services.runtime.tracing import is_recorded, note
from services.runtime.wire import error_to_message, vector_to_bytes
from services.store import Manifest, Pointer, check_id
from sightline._channel import MAX_MESSAGE
from sightline.errors import InternalError, InvalidArgument, NotFound, SightlineError, Unimplemented
from sightline.internal.v1 import searcher_pb2
from sightline.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    common_pb2,
    embed_pb2,
    embed_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    search_pb2,
)

log = logging.getLogger("sightline.gateway")

MAX_BATCH = 256
MAX_IDS = 1000
MAX_THUMBNAILS = 64

SEARCH_SERVICE = "sightline.v1.SearchService"

Context = grpc.aio.ServicerContext[Any, Any]


class Deadlines:
    """When calls must be answered."""

    def __init__(self, default_timeout: float) -> None:
        self._default = default_timeout

    def of(self, context: Context) -> float:
        """Returns the deadline of a call, in `loop.time()` seconds."""
        return self.after(context.time_remaining())

    def after(self, seconds: float | None) -> float:
        """Returns the deadline that many seconds from now; by default where they are None."""
        return asyncio.get_running_loop().time() + (self._default if seconds is None else seconds)


class SearchServicer:
    """SearchService. Its replies are bytes already; see splice.py."""

    def __init__(self, search: Search, deadlines: Deadlines, *, window: int, age: float, ending: asyncio.Event) -> None:
        self._search, self._deadlines = search, deadlines
        self._window, self._age, self._ending = window, age, ending

    async def Search(self, request: search_pb2.SearchRequest, context: Context) -> bytes:
        return await self._answer(request, self._deadlines.of(context))

    async def SearchBatch(self, request: search_pb2.SearchBatchRequest, context: Context) -> bytes:
        _between(len(request.requests), MAX_BATCH, "requests")
        deadline = self._deadlines.of(context)
        outcomes = await asyncio.gather(
            *(self._answer(one, deadline) for one in request.requests), return_exceptions=True
        )
        reply = splice.batch([_outcome(one) for one in outcomes])
        if len(reply) > MAX_MESSAGE:
            message = (
                f"the answers have {len(reply):,} bytes, more than the {MAX_MESSAGE:,} of a message: ask for fewer"
            )
            raise InvalidArgument(message, reason="REPLY_TOO_LARGE", field="requests")
        return reply

    async def SearchStream(
        self, incoming: AsyncIterator[search_pb2.SearchStreamRequest], context: Context
    ) -> AsyncIterator[bytes]:
        stream = Stream(self._streamed, window=self._window, age=self._age, ending=self._ending)
        async for reply in stream.run(incoming):
            yield reply

    async def _streamed(self, request: search_pb2.SearchStreamRequest) -> bytes:
        deadline = self._deadlines.after(request.timeout_ms / 1000 if request.timeout_ms else None)
        try:
            if not 1 <= len(request.correlation_id.encode()) <= 128:
                raise InvalidArgument("must be 1 to 128 bytes", field="correlation_id")
            return splice.streamed(request.correlation_id, await self._answer(request.request, deadline))
        except Exception as error:
            return splice.streamed(request.correlation_id, _outcome(error))

    async def _answer(self, request: search_pb2.SearchRequest, deadline: float) -> bytes:
        return splice.reply(await counted(self._reply(request, deadline), deadline), request_id.get())

    async def _reply(self, request: search_pb2.SearchRequest, deadline: float) -> Reply:
        reply = await self._search(requests.question(request), deadline)
        if is_recorded():
            note("answered", source=reply.source.name, **asdict(reply.times))
        return reply


def add_search_servicer(servicer: SearchServicer, server: grpc.aio.Server) -> None:
    """Registers the servicer. The generated function would serialise its replies, which are bytes already."""

    def identity(reply: bytes) -> bytes:
        return reply

    unary: Callable[..., Any] = grpc.unary_unary_rpc_method_handler
    handlers = {
        "Search": unary(servicer.Search, search_pb2.SearchRequest.FromString, identity),
        "SearchBatch": unary(servicer.SearchBatch, search_pb2.SearchBatchRequest.FromString, identity),
        "SearchStream": grpc.stream_stream_rpc_method_handler(
            servicer.SearchStream, search_pb2.SearchStreamRequest.FromString, identity
        ),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SEARCH_SERVICE, handlers),))


class ImageServicer(image_pb2_grpc.ImageServiceServicer):
    """ImageService."""

    def __init__(self, catalog: Catalog, searchers: SearcherGroups, deadlines: Deadlines) -> None:
        self._catalog, self._searchers, self._deadlines = catalog, searchers, deadlines

    async def Get(self, request: image_pb2.GetImageRequest, context: Context) -> image_pb2.GetImageResponse:
        several = image_pb2.BatchGetImagesRequest(
            collection=request.collection,
            ids=[request.id],
            fields=request.fields,
            thumbnails=request.thumbnail,
            generation=request.generation,
        )
        outcome = (await self._images(several, self._deadlines.of(context), field="id"))[0]
        if isinstance(outcome, SightlineError):
            raise outcome
        return outcome

    async def BatchGet(
        self, request: image_pb2.BatchGetImagesRequest, context: Context
    ) -> image_pb2.BatchGetImagesResponse:
        _between(len(request.ids), MAX_THUMBNAILS if request.thumbnails else MAX_IDS, "ids")
        outcomes = await self._images(request, self._deadlines.of(context), field="ids")
        items = [
            image_pb2.BatchGetImagesItem(error=error_to_message(one))
            if isinstance(one, SightlineError)
            else image_pb2.BatchGetImagesItem(response=one)
            for one in outcomes
        ]
        return image_pb2.BatchGetImagesResponse(items=items)

    async def Upsert(self, request: image_pb2.UpsertImagesRequest, context: Context) -> image_pb2.UpsertImagesResponse:
        raise Unimplemented("collections change by publishing a generation; see the indexer", reason="READ_ONLY")

    async def Delete(self, request: image_pb2.DeleteImagesRequest, context: Context) -> image_pb2.DeleteImagesResponse:
        raise Unimplemented("collections change by publishing a generation; see the indexer", reason="READ_ONLY")

    async def _images(
        self, request: image_pb2.BatchGetImagesRequest, deadline: float, *, field: str
    ) -> list[image_pb2.GetImageResponse | SightlineError]:
        fields = requests.fields(request.fields.paths)
        for identifier in request.ids:
            check_id(identifier, field=field)

        async def ask() -> list[image_pb2.GetImageResponse | SightlineError]:
            manifest = await self._catalog.resolve(request.collection, request.generation, deadline)
            found = await self._searchers.fetch(
                manifest, request.ids, documents=True, thumbnails=request.thumbnails, deadline=deadline
            )
            pairs = zip(found, request.ids, strict=True)
            return [_image(one, identifier, manifest, fields, field) for one, identifier in pairs]

        return await (ask() if request.generation else currently(self._catalog, ask, deadline))


class CollectionServicer(collection_pb2_grpc.CollectionServiceServicer):
    """CollectionService."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    async def List(
        self, request: collection_pb2.ListCollectionsRequest, context: Context
    ) -> collection_pb2.ListCollectionsResponse:
        return collection_pb2.ListCollectionsResponse(
            collections=[_collection(*one) for one in self._catalog.current()]
        )

    async def Get(
        self, request: collection_pb2.GetCollectionRequest, context: Context
    ) -> collection_pb2.GetCollectionResponse:
        return collection_pb2.GetCollectionResponse(collection=_collection(*self._catalog.one(request.collection)))


class EmbedServicer(embed_pb2_grpc.EmbedServiceServicer):
    """EmbedService."""

    def __init__(self, encoders: Encoders, deadlines: Deadlines) -> None:
        self._encoders, self._deadlines = encoders, deadlines

    async def Embed(self, request: embed_pb2.EmbedRequest, context: Context) -> embed_pb2.EmbedResponse:
        _between(len(request.inputs), MAX_BATCH, "inputs")
        deadline = self._deadlines.of(context)
        model = self._encoders.model()

        async def one(place: int, given: embed_pb2.EmbedInput) -> embed_pb2.EmbedItem:
            try:
                field = f"inputs[{place}].{given.WhichOneof('kind') or 'kind'}"
                kind = given.WhichOneof("kind")
                term = requests.image(given.image, field) if kind == "image" else requests.text(given.text, field)
                vector = await self._encoders.encode(term, digest=model.digest, field=field, deadline=deadline)
                return embed_pb2.EmbedItem(vector=common_pb2.Vector(values=vector_to_bytes(vector)))
            except SightlineError as error:
                return embed_pb2.EmbedItem(error=error_to_message(error))

        items = await asyncio.gather(*(one(place, given) for place, given in enumerate(request.inputs)))
        made_by = common_pb2.Model(name=model.name, digest=model.digest, dimension=model.dimension)
        return embed_pb2.EmbedResponse(items=items, model=made_by)


def _between(count: int, limit: int, field: str) -> None:
    if not 1 <= count <= limit:
        raise InvalidArgument(
            f"must be 1 to {limit:,} of them, got {count:,}", reason="COUNT_OUT_OF_RANGE", field=field
        )


def _outcome(one: bytes | BaseException) -> bytes | Exception:
    if isinstance(one, BaseException) and not isinstance(one, Exception):
        raise one  # cancellation is no answer
    if isinstance(one, Exception) and (not isinstance(one, SightlineError) or isinstance(one, InternalError)):
        log.error("an item failed", exc_info=one)
    return one


def _image(
    found: searcher_pb2.FetchedImage | SightlineError,
    identifier: str,
    manifest: Manifest,
    fields: Sequence[str],
    field: str,
) -> image_pb2.GetImageResponse | SightlineError:
    if isinstance(found, SightlineError):
        return found
    if not found.found:
        message = f"there is no image {identifier[:80]!r} in collection {manifest.collection!r}"
        return NotFound(message, reason="NO_IMAGE", field=field)
    return image_pb2.GetImageResponse(
        image=common_pb2.Image.FromString(splice.project(found.document, fields)),
        thumbnail=found.thumbnail,
        generation=manifest.generation,
    )


def _collection(manifest: Manifest, pointer: Pointer) -> collection_pb2.Collection:
    model = manifest.model
    return collection_pb2.Collection(
        name=manifest.collection,
        model=common_pb2.Model(name=model.name, digest=model.digest, dimension=model.dimension),
        images=manifest.images,
        shards=len(manifest.shards),
        generation=pointer.generation,
        previous_generation=pointer.previous,
        index=manifest.index,
        attributes=[
            collection_pb2.AttributeField(
                name=one.name,
                type=collection_pb2.AttributeType.Value(f"ATTRIBUTE_TYPE_{one.type.upper()}"),
                images=one.images,
            )
            for one in manifest.attributes
        ],
    )

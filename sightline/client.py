"""The client: asks a Sightline installation over gRPC."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias, TypedDict, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from sightline._channel import error_of, open_channel
from sightline._translate import (
    from_collection,
    from_error,
    from_response,
    from_search_item,
    from_stored,
    from_stored_item,
    to_fields,
    to_input,
    to_request,
)
from sightline.errors import SightlineError, Unavailable
from sightline.queries import Picture, SearchRequest, Text
from sightline.results import Collection, SearchResult, StoredImage
from sightline.security import Tls, bearer
from sightline.stream import ReopeningStream, SearchStream
from sightline.surface import WINDOW, SearchClient
from sightline.v1 import (
    collection_pb2,
    collection_pb2_grpc,
    embed_pb2,
    embed_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    search_pb2,
    search_pb2_grpc,
)

Metadata: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Headers of calls, or what gives them for each."""


class ClientOptions(TypedDict, total=False):
    """What `Client` takes beside an address."""

    tls: Tls | grpc.ChannelCredentials | None
    key: str
    timeout: float
    metadata: Metadata | None


_Request = TypeVar("_Request")
_Reply = TypeVar("_Reply")

_HEALTH = "/grpc.health.v1.Health/Check"
_SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}


class Client(SearchClient):
    """Asks the gateways at an address. It spreads calls over all of them, and connects when it is first used.

    ::

        async with Client("localhost:7700") as client:
            for hit in await client.search("red apple"):
                print(hit.id, hit.score)

    Args:
        address: ``host:port``, or any gRPC target; a name with several addresses is balanced over all of them.
        tls: whom to trust and what to show; in the clear when None. Credentials of gRPC's own will do as well.
        key: sent with every call, where the service asks for one. Not without `tls`, unless the network is your own.
        timeout: seconds that a call has unless it says otherwise.
        metadata: sent with every call; or what gives it anew for each, such as the context of a trace.

    Raises:
        InvalidArgument: `key` is none that a call can carry.
    """

    def __init__(
        self,
        address: str,
        *,
        tls: Tls | grpc.ChannelCredentials | None = None,
        key: str = "",
        timeout: float = 10.0,
        metadata: Metadata | None = None,
    ) -> None:
        self._address = address
        self._tls = tls
        self.timeout = timeout
        self._key = {"authorization": bearer(key)} if key else {}
        self._metadata = metadata or {}
        self._opened: grpc.aio.Channel | None = None

    def __repr__(self) -> str:
        return f"<Client: {self._address}{', TLS' if self._tls else ''}>"

    def _sent(self) -> tuple[tuple[str, str], ...]:
        given = self._metadata() if callable(self._metadata) else self._metadata
        return tuple({**self._key, **given}.items())

    @property
    def _channel(self) -> grpc.aio.Channel:
        # Opened by the first call, in whose event loop it then lives.
        self._opened = self._opened or open_channel(self._address, self._tls)
        return self._opened

    async def close(self) -> None:
        """Closes the connections. Calls that are under way fail."""
        if self._opened:
            await self._opened.close()

    async def _search(self, request: SearchRequest, timeout: float | None, request_id: str | None) -> SearchResult:
        stub = search_pb2_grpc.SearchServiceStub(self._channel)
        return from_response(await self._call(stub.Search, to_request(request), timeout, request_id))

    async def _search_batch(
        self, requests: list[SearchRequest], timeout: float, request_id: str | None
    ) -> list[SearchResult | SightlineError]:
        stub = search_pb2_grpc.SearchServiceStub(self._channel)
        message = search_pb2.SearchBatchRequest(requests=[to_request(request) for request in requests])
        reply = await self._call(stub.SearchBatch, message, timeout, request_id)
        return [from_search_item(item) for item in reply.items]

    def stream(self, *, window: int = WINDOW, timeout: float | None = None) -> SearchStream:
        """Opens a stream for many questions, cheaper than single calls; use it with ``async with``."""
        stub = search_pb2_grpc.SearchServiceStub(self._channel)
        return ReopeningStream(
            lambda: stub.SearchStream(metadata=self._sent()),
            address=self._address,
            window=window,
            timeout=self.timeout if timeout is None else timeout,
        )

    async def get(
        self,
        id: str,
        *,
        collection: str = "",
        thumbnail: bool = False,
        fields: Sequence[str] | None = None,
        generation: int = 0,
        timeout: float | None = None,
    ) -> StoredImage:
        """Returns one image; NotFound where the collection has none of that id."""
        stub = image_pb2_grpc.ImageServiceStub(self._channel)
        message = image_pb2.GetImageRequest(
            collection=collection, id=id, fields=to_fields(fields), thumbnail=thumbnail, generation=generation
        )
        return from_stored(await self._call(stub.Get, message, timeout))

    async def _get_many(
        self,
        ids: list[str],
        *,
        collection: str,
        thumbnails: bool,
        fields: Sequence[str] | None,
        generation: int,
        timeout: float,
    ) -> list[StoredImage | SightlineError]:
        stub = image_pb2_grpc.ImageServiceStub(self._channel)
        message = image_pb2.BatchGetImagesRequest(
            collection=collection, ids=ids, fields=to_fields(fields), thumbnails=thumbnails, generation=generation
        )
        reply = await self._call(stub.BatchGet, message, timeout)
        return [from_stored_item(item) for item in reply.items]

    async def collections(self, *, timeout: float | None = None) -> list[Collection]:
        """Returns all collections, by name."""
        stub = collection_pb2_grpc.CollectionServiceStub(self._channel)
        reply = await self._call(stub.List, collection_pb2.ListCollectionsRequest(), timeout)
        return [from_collection(one) for one in reply.collections]

    async def collection(self, name: str = "", *, timeout: float | None = None) -> Collection:
        """Returns one collection; NotFound where there is none of that name."""
        stub = collection_pb2_grpc.CollectionServiceStub(self._channel)
        reply = await self._call(stub.Get, collection_pb2.GetCollectionRequest(collection=name), timeout)
        return from_collection(reply.collection)

    async def _embed(self, parts: list[Text | Picture], timeout: float) -> NDArray[np.float32]:
        stub = embed_pb2_grpc.EmbedServiceStub(self._channel)
        reply = await self._call(stub.Embed, embed_pb2.EmbedRequest(inputs=map(to_input, parts)), timeout)
        for item in reply.items:
            if item.HasField("error"):
                raise from_error(item.error)
        rows = b"".join(item.vector.values for item in reply.items)
        return np.frombuffer(rows, dtype="<f4").astype(np.float32).reshape(len(parts), -1)

    async def serving(self, *, timeout: float | None = None) -> bool:
        """Returns whether the server says that it is ready for calls (grpc.health.v1)."""
        check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            _HEALTH, request_serializer=bytes, response_deserializer=bytes
        )
        return await self._call(check, b"", timeout) == _SERVING

    async def _call(
        self,
        method: grpc.aio.UnaryUnaryMultiCallable[_Request, _Reply],
        message: _Request,
        timeout: float | None,
        request_id: str | None = None,
    ) -> _Reply:
        own = (("x-request-id", request_id),) if request_id else ()
        seconds = self.timeout if timeout is None else timeout
        try:
            return await method(message, timeout=seconds, metadata=(*self._sent(), *own))
        except grpc.aio.AioRpcError as error:
            raise error_of(error, self._address) from error
        except grpc.aio.UsageError as error:
            raise Unavailable("the client is closed", reason="CLIENT_CLOSED") from error
        except asyncio.CancelledError as error:
            if (task := asyncio.current_task()) is None or task.cancelling():
                raise
            raise Unavailable("the client was closed under the call", reason="CLIENT_CLOSED") from error

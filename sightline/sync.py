"""The client for code that is not asynchronous: the same calls, run by a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, Unpack

import numpy as np
from numpy.typing import NDArray

from sightline.client import Client, ClientOptions
from sightline.errors import SightlineError
from sightline.queries import QueryLike, RequestLike, SearchOptions
from sightline.results import Answer, Collection, SearchResult, StoredImage
from sightline.surface import WINDOW, SearchClient

_T = TypeVar("_T")


class SyncClient:
    """Wraps a client, or makes one for an address; its methods take and return the same, but that
    a stream is iterated with `search_stream` alone. Safe to share by threads.

    ::

        with SyncClient("localhost:7700") as client:
            print(client.search("red apple", top_k=3))

    Args:
        client: a client, or the address for one.
        options: of `Client`, where it is an address.
    """

    def __init__(self, client: SearchClient | str, **options: Unpack[ClientOptions]) -> None:
        if options and not isinstance(client, str):
            raise TypeError("options go with an address; a client has its own")
        self._client = Client(client, **options) if isinstance(client, str) else client
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="sightline-client", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the client and ends the thread."""
        if self._loop.is_closed():
            return
        self._run(self._client.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def search(
        self,
        query: QueryLike,
        *,
        thumbnails: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[SearchOptions],
    ) -> SearchResult:
        """As `Client.search`."""
        asking = self._client.search(query, thumbnails=thumbnails, timeout=timeout, request_id=request_id, **options)
        return self._run(asking)

    def with_thumbnails(
        self, result: SearchResult, *, collection: str = "", timeout: float | None = None
    ) -> SearchResult:
        """As `Client.with_thumbnails`."""
        return self._run(self._client.with_thumbnails(result, collection=collection, timeout=timeout))

    def search_batch(
        self, requests: Iterable[RequestLike], *, timeout: float | None = None, request_id: str | None = None
    ) -> list[SearchResult | SightlineError]:
        """As `Client.search_batch`."""
        return self._run(self._client.search_batch(requests, timeout=timeout, request_id=request_id))

    def search_stream(
        self, questions: Iterable[RequestLike], *, window: int = WINDOW, timeout: float | None = None
    ) -> Iterator[Answer]:
        """As `Client.search_stream`."""
        answers = self._client.search_stream(questions, window=window, timeout=timeout)
        try:
            while answer := self._run(_next(answers)):
                yield answer
        finally:
            self._run(answers.aclose())

    def get(
        self,
        id: str,
        *,
        collection: str = "",
        thumbnail: bool = False,
        fields: Sequence[str] | None = None,
        generation: int = 0,
        timeout: float | None = None,
    ) -> StoredImage:
        """As `Client.get`."""
        return self._run(
            self._client.get(
                id, collection=collection, thumbnail=thumbnail, fields=fields, generation=generation, timeout=timeout
            )
        )

    def get_many(
        self,
        ids: Sequence[str],
        *,
        collection: str = "",
        thumbnails: bool = False,
        fields: Sequence[str] | None = None,
        generation: int = 0,
        timeout: float | None = None,
    ) -> list[StoredImage | SightlineError]:
        """As `Client.get_many`."""
        return self._run(
            self._client.get_many(
                ids, collection=collection, thumbnails=thumbnails, fields=fields, generation=generation, timeout=timeout
            )
        )

    def collections(self, *, timeout: float | None = None) -> list[Collection]:
        """As `Client.collections`."""
        return self._run(self._client.collections(timeout=timeout))

    def collection(self, name: str = "", *, timeout: float | None = None) -> Collection:
        """As `Client.collection`."""
        return self._run(self._client.collection(name, timeout=timeout))

    def embed(
        self, texts: Sequence[str] = (), images: Sequence[bytes | Path] = (), *, timeout: float | None = None
    ) -> NDArray[np.float32]:
        """As `Client.embed`."""
        return self._run(self._client.embed(texts, images, timeout=timeout))

    def serving(self, *, timeout: float | None = None) -> bool:
        """As `Client.serving`."""
        return self._run(self._client.serving(timeout=timeout))

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _next(answers: AsyncGenerator[Answer, None]) -> Answer | None:
    return await anext(answers, None)

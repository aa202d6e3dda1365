"""What every client can do: the real one and the fake one keep the same promises."""

from __future__ import annotations

import asyncio
import itertools
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline._split import MAX_IDS, MAX_ITEMS, MAX_THUMBNAILS, bytes_of, countdown, in_calls, shifted
from sightline.errors import SightlineError
from sightline.filters import Filter
from sightline.queries import Picture, QueryLike, RequestLike, SearchRequest, Text, as_query, as_request, image
from sightline.results import Answer, Collection, SearchResult, StoredImage
from sightline.stream import SearchStream

WINDOW = 64
"""Questions of one stream that may be unanswered at a time, unless said otherwise."""

_T = TypeVar("_T")


class SearchClient(ABC):
    """Searches images. All methods raise a :class:`SightlineError` where the service refuses or cannot be reached.

    A `timeout` is in seconds; None means the client's own. A `collection` may be empty where the installation has
    exactly one. A `generation` of 0 is the one that is served at the moment.

    Lists may be of any length: what is more than one call takes goes in several, one after the other, within the one
    `timeout`. A call that fails as a whole raises, whatever those before it brought.
    """

    timeout: float = 10.0
    """Seconds that a call has unless it says otherwise."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @abstractmethod
    async def close(self) -> None:
        """Gives back what the client holds. Calls that are under way fail."""

    async def search(
        self,
        query: QueryLike,
        *,
        collection: str = "",
        top_k: int = 10,
        min_score: float | None = None,
        fields: Sequence[str] | None = None,
        filter: Filter | None = None,
        generation: int = 0,
        refuse_partial: bool = False,
        thumbnails: bool = False,
        timeout: float | None = None,
        request_id: str | None = None,
    ) -> SearchResult:
        """Finds the images nearest to a query.

        Args:
            query: words, a picture (bytes or Path), an ImageId, a vector, or a mixture of them.
            collection: the collection to search.
            top_k: how many hits, 1 to 1,000.
            min_score: leave out hits that score less (cosine, -1 to 1).
            fields: the image fields to return, such as ``caption`` or ``attributes.group``; all of them when None.
            filter: only images that meet this condition.
            generation: answer from exactly this generation.
            refuse_partial: fail with Unavailable rather than answer from some of the shards.
            thumbnails: fetch the hits' thumbnails too, as `with_thumbnails` does.
            timeout: seconds until the answer is of no use.
            request_id: identifies this call in the service's logs.
        """
        request = SearchRequest(query, collection, top_k, min_score, fields, filter, generation, refuse_partial)
        left = self._countdown(timeout)
        result = await self._search(request, timeout, request_id)
        return await self.with_thumbnails(result, collection=collection, timeout=left()) if thumbnails else result

    async def with_thumbnails(
        self, result: SearchResult, *, collection: str = "", timeout: float | None = None
    ) -> SearchResult:
        """Returns the answer with a thumbnail in each hit, from the generation that answered; b"" where there is none.

        Args:
            result: an answer.
            collection: the collection that it is from.
            timeout: seconds until that is of no use.
        """
        stored = await self.get_many(
            [hit.id for hit in result.hits],
            collection=collection,
            thumbnails=True,
            fields=["id"],
            generation=result.generation,
            timeout=timeout,
        )
        files = [one.thumbnail if isinstance(one, StoredImage) else b"" for one in stored]
        hits = (replace(hit, thumbnail=file) for hit, file in zip(result.hits, files, strict=True))
        return replace(result, hits=tuple(hits))

    async def search_batch(
        self, requests: Iterable[RequestLike], *, timeout: float | None = None, request_id: str | None = None
    ) -> list[SearchResult | SightlineError]:
        """Answers questions, 256 in one call: for each, in order, its answer or the error that it met."""
        left = self._countdown(timeout)
        asked = (replace(one, query=as_query(one.query)) for one in map(as_request, requests))
        outcomes: list[SearchResult | SightlineError] = []
        for chunk in in_calls(asked, MAX_ITEMS, lambda one: bytes_of(as_query(one.query))):
            outcomes += await self._search_batch(chunk, left(), request_id)
        return outcomes

    @abstractmethod
    async def _search(self, request: SearchRequest, timeout: float | None, request_id: str | None) -> SearchResult: ...

    @abstractmethod
    async def _search_batch(
        self, requests: list[SearchRequest], timeout: float, request_id: str | None
    ) -> list[SearchResult | SightlineError]: ...

    @abstractmethod
    def stream(self, *, window: int = WINDOW, timeout: float | None = None) -> SearchStream:
        """Opens a stream for many questions, cheaper than single calls; use it with ``async with``.

        Args:
            window: how many questions may be unanswered at a time; further ones wait.
            timeout: seconds that each question has, unless it says otherwise.
        """

    async def search_stream(
        self,
        questions: AsyncIterable[RequestLike] | Iterable[RequestLike],
        *,
        window: int = WINDOW,
        timeout: float | None = None,
    ) -> AsyncGenerator[Answer, None]:
        """Answers questions as they come, in whatever order they are done; `window` and `timeout` as in `stream`.

        A question that fails does not end the iteration: its `Answer` holds the error.
        """
        done: asyncio.Queue[asyncio.Task[Answer] | None] = asyncio.Queue()
        room = asyncio.Semaphore(window)
        async with self.stream(window=window, timeout=timeout) as stream:
            feeding = asyncio.create_task(_feed(stream, _aiter(questions), room, done))
            try:
                while task := await done.get():
                    yield task.result()
                    room.release()
                await feeding  # raises what the questions raised
            finally:
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)

    @abstractmethod
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

    async def get_many(
        self,
        ids: Sequence[str],
        *,
        collection: str = "",
        thumbnails: bool = False,
        fields: Sequence[str] | None = None,
        generation: int = 0,
        timeout: float | None = None,
    ) -> list[StoredImage | SightlineError]:
        """Returns images, all of one generation: for each id, in order, its image or its error.

        One call takes 1,000 ids, or 64 with thumbnails.
        """
        left = self._countdown(timeout)
        outcomes: list[StoredImage | SightlineError] = []
        for chunk in in_calls(ids, MAX_THUMBNAILS if thumbnails else MAX_IDS):
            found = await self._get_many(
                chunk,
                collection=collection,
                thumbnails=thumbnails,
                fields=fields,
                generation=generation,
                timeout=left(),
            )
            generation = generation or next((one.generation for one in found if isinstance(one, StoredImage)), 0)
            outcomes += found
        return outcomes

    @abstractmethod
    async def _get_many(
        self,
        ids: list[str],
        *,
        collection: str,
        thumbnails: bool,
        fields: Sequence[str] | None,
        generation: int,
        timeout: float,
    ) -> list[StoredImage | SightlineError]: ...

    @abstractmethod
    async def collections(self, *, timeout: float | None = None) -> list[Collection]:
        """Returns all collections, by name."""

    @abstractmethod
    async def collection(self, name: str = "", *, timeout: float | None = None) -> Collection:
        """Returns one collection; NotFound where there is none of that name."""

    async def embed(
        self, texts: Sequence[str] = (), images: Sequence[bytes | Path] = (), *, timeout: float | None = None
    ) -> NDArray[np.float32]:
        """Returns the unit vectors of texts and images, 256 in one call: float32 [n, d], the texts first.

        Raises:
            SightlineError: the first error that an input met; its `field` names the input.
        """
        left = self._countdown(timeout)
        parts: Iterator[Text | Picture] = itertools.chain(map(Text, texts), map(image, images))
        rows: list[NDArray[np.float32]] = []
        done = 0
        for chunk in in_calls(parts, MAX_ITEMS, bytes_of):
            try:
                rows.append(await self._embed(chunk, left()))
            except SightlineError as error:
                raise (shifted(error, done) if done else error) from error.__cause__
            done += len(chunk)
        return np.concatenate(rows) if rows else await self._embed([], left())

    @abstractmethod
    async def _embed(self, parts: list[Text | Picture], timeout: float) -> NDArray[np.float32]: ...

    @abstractmethod
    async def serving(self, *, timeout: float | None = None) -> bool:
        """Returns whether the server says that it is ready for calls."""

    def _countdown(self, timeout: float | None) -> Callable[[], float]:
        return countdown(self.timeout if timeout is None else timeout)


async def _feed(
    stream: SearchStream,
    questions: AsyncIterator[RequestLike],
    room: asyncio.Semaphore,
    done: asyncio.Queue[asyncio.Task[Answer] | None],
) -> None:
    asked: set[asyncio.Task[Answer]] = set()
    index = 0
    try:
        async for question in questions:
            await room.acquire()
            task = asyncio.create_task(_ask(stream, index, as_request(question)))
            asked.add(task)
            task.add_done_callback(asked.discard)
            task.add_done_callback(done.put_nowait)
            index += 1
        if asked:
            await asyncio.wait(asked)
    finally:
        for task in asked:
            task.cancel()
        done.put_nowait(None)


async def _ask(stream: SearchStream, index: int, request: SearchRequest) -> Answer:
    try:
        return Answer(index, request, await stream.answer(request))
    except SightlineError as error:
        return Answer(index, request, error)


async def _aiter(items: AsyncIterable[_T] | Iterable[_T]) -> AsyncIterator[_T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item

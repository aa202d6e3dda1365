"""The ways in which a caller can ask many questions. Each returns the outcomes in the order of the requests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

from sightline import Client, SearchRequest, SearchResult
from sightline.errors import SightlineError

Outcome = SearchResult | SightlineError
Way = Callable[[Client, Sequence[SearchRequest]], Awaitable[list[Outcome]]]

BATCH = 250
AT_A_TIME = 64


async def _single(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    return [await _search(client, request) for request in requests]


async def _concurrent(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    room = asyncio.Semaphore(AT_A_TIME)

    async def one(request: SearchRequest) -> Outcome:
        async with room:
            return await _search(client, request)

    return await asyncio.gather(*(one(request) for request in requests))


async def _search(client: Client, request: SearchRequest) -> Outcome:
    try:
        return await client.search(request.query, collection=request.collection, top_k=request.top_k)
    except SightlineError as error:
        return error


async def _batches_of_one(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    return [(await client.search_batch([request]))[0] for request in requests]


async def batches(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    """As few calls as can be."""
    cut = (requests[at : at + BATCH] for at in range(0, len(requests), BATCH))
    return [outcome for batch in cut for outcome in await client.search_batch(batch)]


async def _stream_of_one(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    return [answer.outcome async for answer in client.search_stream(requests, window=1)]


async def _stream(client: Client, requests: Sequence[SearchRequest]) -> list[Outcome]:
    answers = [answer async for answer in client.search_stream(requests, window=AT_A_TIME)]
    return [answer.outcome for answer in sorted(answers, key=lambda answer: answer.index)]


WAYS: dict[str, Way] = {
    "Search, alone": _single,
    f"Search, {AT_A_TIME} at a time": _concurrent,
    "SearchBatch of one": _batches_of_one,
    f"SearchBatch of {BATCH}": batches,
    "SearchStream, one at a time": _stream_of_one,
    f"SearchStream, {AT_A_TIME} at a time": _stream,
}

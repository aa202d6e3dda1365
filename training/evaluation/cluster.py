"""A running cluster as the subject: asked through the SDK, one call a query, as its callers ask it."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from services.gateway.questions import MAX_TOP_K
from sightline import Client, Collection, SearchResult, StoredImage
from sightline.errors import SightlineError
from sightline.surface import SearchClient
from training.evaluation.queries import Query
from training.evaluation.searching import WARM_UP, Found, Progress, Run

_THUMBNAILS = 64  # that one call may ask for


class Cluster:
    """Asks the gateways at an address.

    Args:
        address: host:port.
        collection: its name; may be empty where there is one alone.
        callers: how many queries are under way at a time.
        timeout: seconds for each call.
    """

    def __init__(self, address: str, collection: str = "", *, callers: int = 1, timeout: float = 30.0) -> None:
        self._address, self._collection = address, collection
        self._callers, self._timeout = callers, timeout

    def run(self, queries: Sequence[Query], depth: int, progress: Progress) -> Run:
        """See Subject. All answers are of one generation, over all shards.

        Raises:
            ValueError: the depth is beyond the largest top_k.
            SightlineError: there is no such collection, or nobody there. A query that fails alone is a Found with its
                error.
        """
        if depth > MAX_TOP_K:
            raise ValueError(f"a depth of {depth:,} is beyond the largest top_k of a cluster, {MAX_TOP_K:,}")
        return asyncio.run(self._run(queries, depth, progress))

    def pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See Subject: the collection's thumbnails, WebP."""
        return asyncio.run(self._pictures(ids))

    async def _run(self, queries: Sequence[Query], depth: int, progress: Progress) -> Run:
        async with Client(self._address, timeout=self._timeout) as client:
            collection = await client.collection(self._collection)
            await self._warm_up(client, collection, depth)
            asking = _Asking(client, collection, depth, progress)
            began = time.monotonic()
            found = await asking.all(queries, self._callers)
            seconds = time.monotonic() - began
        return Run(
            found=tuple(found),
            subject={
                "kind": "cluster",
                "address": self._address,
                "collection": collection.name,
                "generation": collection.generation,
                "index": collection.index,
                "model": asdict(collection.model),
            },
            pool=collection.images,
            queries_per_second=len(queries) / seconds,
            timing=f"one call a query, {self._callers} at a time, as its caller waited",
            counts=asking.counts,
        )

    async def _warm_up(self, client: Client, collection: Collection, depth: int) -> None:
        await asyncio.gather(*(_ask(client, collection, greeting, depth) for greeting in WARM_UP))

    async def _pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        async with Client(self._address, timeout=self._timeout) as client:
            for start in range(0, len(ids), _THUMBNAILS):
                some = ids[start : start + _THUMBNAILS]
                stored = await client.get_many(some, collection=self._collection, thumbnails=True, fields=["id"])
                found |= {one.image.id: one.thumbnail for one in stored if isinstance(one, StoredImage)}
        return {identifier: file for identifier, file in found.items() if file}


class _Asking:
    """Asks queries of one generation, some at a time, and counts where answers come from."""

    def __init__(self, client: SearchClient, collection: Collection, depth: int, progress: Progress) -> None:
        self._client, self._collection, self._depth, self._progress = client, collection, depth, progress
        self._caches: Counter[str] = Counter()
        self._done = 0

    @property
    def counts(self) -> dict[str, int]:
        """Answers by the state of the cache."""
        return {f"cache {state}": count for state, count in sorted(self._caches.items())}

    async def all(self, queries: Sequence[Query], callers: int) -> list[Found]:
        waiting = iter(enumerate(queries))
        found: list[Found] = [Found()] * len(queries)

        async def caller() -> None:
            for place, query in waiting:
                found[place] = await self._one(query)
                self._done += 1
                self._progress(self._done, len(queries))

        await asyncio.gather(*(caller() for _ in range(callers)))
        return found

    async def _one(self, query: Query) -> Found:
        began = time.monotonic()
        outcome = await _ask(self._client, self._collection, query, self._depth)
        ms = (time.monotonic() - began) * 1000
        if isinstance(outcome, SightlineError):
            return Found(ms=ms, error=f"{outcome} ({outcome.reason})")
        self._caches[outcome.cache.value] += 1
        return Found(tuple(hit.id for hit in outcome), tuple(hit.score for hit in outcome), ms)


async def _ask(client: SearchClient, collection: Collection, query: Query, depth: int) -> SearchResult | SightlineError:
    try:
        return await client.search(
            query.asked,
            collection=collection.name,
            top_k=depth,
            fields=["id"],
            generation=collection.generation,
            refuse_partial=True,
        )
    except SightlineError as error:
        return error

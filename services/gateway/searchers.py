"""The searcher groups, as the gateway asks them: one batch call to a replica of each group carries many queries."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np

from services.gateway.answers import GroupHits
from services.gateway.groups import groups_to_ask
from services.gateway.metrics import GroupMetrics
from services.gateway.vectors import Vector
from services.runtime.batcher import Batcher
from services.runtime.calls import call
from services.runtime.metrics import QueueMetrics
from services.runtime.pool import Pool
from services.runtime.tracing import Calling, current
from services.runtime.wire import error_from_message, vector_from_bytes, vector_to_bytes
from services.store import Manifest, shard_of
from sightline._filter_messages import to_filter
from sightline.errors import FailedPrecondition, NotFound, SightlineError, Unavailable
from sightline.filters import Filter
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc

SERVICE = "/sightline.internal.v1.SearcherService"

FETCH_LANES = 16
"""Fetches in flight to one searcher."""

MARGIN = 0.05
"""Seconds before the caller's deadline at which the groups' time is over, so that a partial answer is still in time."""


@dataclass(frozen=True, slots=True)
class _Asked:
    item: searcher_pb2.SearchItem
    deadline: float
    trace: str


@dataclass(frozen=True, slots=True)
class _Fetch:
    request: searcher_pb2.FetchRequest
    deadline: float
    trace: str


class SearcherReplica:
    """One searcher; a services.runtime.pool.Backend.

    Attributes:
        group, groups: it serves the shards s with s mod groups = group.
        loaded: generations by collection.
    """

    def __init__(self, channel: grpc.aio.Channel, *, max_batch: int, lanes: int, capacity: int) -> None:
        self._stub = searcher_pb2_grpc.SearcherServiceStub(channel)
        self.group, self.groups = -1, 0
        self.loaded: Mapping[str, frozenset[int]] = {}
        # One at a time each; a queue, so that they fail together with the replica.
        self._fetches: Batcher[_Fetch, Sequence[searcher_pb2.FetchedImage]] = Batcher(
            self._send_fetch, name="searcher", capacity=capacity, max_weight=1, lanes=FETCH_LANES
        )
        self._batcher: Batcher[_Asked, GroupHits] = Batcher(
            self._send,
            name="searcher",
            capacity=capacity,
            max_weight=max_batch,
            lanes=lanes,
            observer=QueueMetrics("search"),
        )

    async def probe(self, timeout: float) -> None:
        """Learns the group and what is loaded."""
        deadline = asyncio.get_running_loop().time() + timeout
        reply = await call(self._stub.Status, searcher_pb2.StatusRequest(), deadline)
        self.group, self.groups = reply.group, reply.groups
        self.loaded = {one.collection: frozenset(one.generations) for one in reply.collections}

    def fail(self, error: Exception) -> None:
        """Fails all that is in flight."""
        self._batcher.fail_all(error)
        self._fetches.fail_all(error)

    def has(self, manifest: Manifest) -> bool:
        """Whether it has loaded the generation."""
        return manifest.generation in self.loaded.get(manifest.collection, ())

    async def search(self, item: searcher_pb2.SearchItem, deadline: float) -> GroupHits:
        """Returns the group's best hits."""
        return await self._batcher.submit(_Asked(item, deadline, current.get()), deadline)

    async def fetch(self, request: searcher_pb2.FetchRequest, deadline: float) -> Sequence[searcher_pb2.FetchedImage]:
        """Returns stored data of images."""
        return await self._fetches.submit(_Fetch(request, deadline, current.get()), deadline)

    async def _send_fetch(
        self, batch: Sequence[_Fetch]
    ) -> Sequence[Sequence[searcher_pb2.FetchedImage] | SightlineError]:
        fetch = batch[0]
        try:
            with Calling(f"{SERVICE}/Fetch", [fetch.trace]) as calling:
                reply: searcher_pb2.FetchResponse = await call(
                    self._stub.Fetch, fetch.request, fetch.deadline, calling.metadata
                )
        except SightlineError as error:
            return [error]
        return [reply.images]

    async def _send(self, batch: Sequence[_Asked]) -> Sequence[GroupHits | Exception]:
        now = asyncio.get_running_loop().time()
        request = searcher_pb2.SearchRequest(items=[asked.item for asked in batch])
        for item, asked in zip(request.items, batch, strict=True):
            item.remaining_ms = max(1, int((asked.deadline - now) * 1000))
        until = max(asked.deadline for asked in batch)
        try:
            with Calling(f"{SERVICE}/Search", [asked.trace for asked in batch]) as calling:
                reply = await call(self._stub.Search, request, until, calling.metadata)
        except SightlineError as error:
            return [error] * len(batch)
        return [_hits(result) for result in reply.results]


class SearcherGroups:
    """All searchers; a services.gateway.search.Searchers and a services.gateway.vectors.Stores.

    Args:
        pool: the searchers.
        metrics: told what becomes of questions at each group.
    """

    def __init__(self, pool: Pool[SearcherReplica], metrics: GroupMetrics) -> None:
        self._pool, self._metrics = pool, metrics

    async def search(
        self,
        manifest: Manifest,
        vector: Vector,
        k: int,
        *,
        documents: bool,
        deadline: float,
        condition: Filter | None = None,
    ) -> Sequence[GroupHits | SightlineError]:
        """Returns each group's best `k` of what meets the condition, or why there are none.

        Raises:
            FailedPrecondition: searchers are up, and none of them has the generation (GENERATION_NOT_LOADED).
        """
        item = searcher_pb2.SearchItem(
            collection=manifest.collection,
            generation=manifest.generation,
            k=k,
            vector=vector_to_bytes(vector),
            documents=documents,
            filter=to_filter(condition) if condition else None,
        )
        groups, limit = self._groups(manifest), _with_margin(deadline)
        # Groups beyond the number of shards hold none of them.
        holding = range(min(groups, len(manifest.shards)))
        asked = [self._group(manifest, group, groups, item, limit) for group in holding]
        return await asyncio.gather(*asked) if len(asked) > 1 else [await asked[0]]

    async def vector(self, manifest: Manifest, identifier: str, *, field: str, deadline: float) -> Vector:
        """Returns the unit vector, float32 [d], of an image; NotFound where there is none of that id."""
        found = await self.fetch(manifest, [identifier], vectors=True, deadline=deadline)
        if isinstance(found[0], SightlineError):
            raise found[0]
        if not found[0].found:
            message = f"there is no image {identifier[:80]!r} in collection {manifest.collection!r}"
            raise NotFound(message, reason="NO_IMAGE", field=field)
        return vector_from_bytes(found[0].vector, manifest.model.dimension, field=field)

    async def documents(self, manifest: Manifest, rows: Sequence[int], *, deadline: float) -> Mapping[int, bytes]:
        """Returns the documents of rows (shard << 32 | row), as far as their groups answer."""
        groups = self._groups(manifest)
        by_group: dict[int, list[int]] = defaultdict(list)
        for row in rows:
            by_group[(row >> 32) % groups].append(row)
        requests = {
            group: _fetch_request(manifest, rows=np.array(of, dtype="<u8").tobytes(), documents=True)
            for group, of in by_group.items()
        }
        limit = _with_margin(deadline)
        answers = await asyncio.gather(
            *(self._fetch(manifest, group, groups, request, limit) for group, request in requests.items())
        )
        return {
            row: image.document
            for of, images in zip(by_group.values(), answers, strict=True)
            if not isinstance(images, SightlineError)
            for row, image in zip(of, images, strict=True)
        }

    async def fetch(
        self,
        manifest: Manifest,
        ids: Sequence[str],
        *,
        deadline: float,
        documents: bool = False,
        thumbnails: bool = False,
        vectors: bool = False,
    ) -> list[searcher_pb2.FetchedImage | SightlineError]:
        """Returns stored data of images, one for each id, or why their group did not answer."""
        groups = self._groups(manifest)
        by_group: dict[int, list[int]] = defaultdict(list)
        for place, identifier in enumerate(ids):
            by_group[shard_of(identifier, len(manifest.shards)) % groups].append(place)

        async def ask(group: int, places: Sequence[int]) -> Sequence[searcher_pb2.FetchedImage] | SightlineError:
            wanted = [ids[place] for place in places]
            flags = {"documents": documents, "thumbnails": thumbnails, "vectors": vectors}
            return await self._fetch(manifest, group, groups, _fetch_request(manifest, ids=wanted, **flags), deadline)

        answers = await asyncio.gather(*(ask(group, places) for group, places in by_group.items()))
        images: dict[int, searcher_pb2.FetchedImage | SightlineError] = {}
        for places, answer in zip(by_group.values(), answers, strict=True):
            images.update(
                zip(places, [answer] * len(places) if isinstance(answer, SightlineError) else answer, strict=True)
            )
        return [images[place] for place in range(len(ids))]

    async def _group(
        self, manifest: Manifest, group: int, groups: int, item: searcher_pb2.SearchItem, deadline: float
    ) -> GroupHits | SightlineError:
        began = time.perf_counter()
        try:
            hits = await self._pool.call(
                lambda replica, limit: replica.search(item, limit),
                deadline=deadline,
                where=lambda one: one.group == group and one.groups == groups and one.has(manifest),
                whom=f"searcher of group {group}",
            )
        except SightlineError as error:
            self._metrics.failed(group)
            return error
        self._metrics.answered(group, time.perf_counter() - began)
        return hits

    async def _fetch(
        self, manifest: Manifest, group: int, groups: int, request: searcher_pb2.FetchRequest, deadline: float
    ) -> Sequence[searcher_pb2.FetchedImage] | SightlineError:
        try:
            return await self._pool.call(
                lambda replica, limit: replica.fetch(request, limit),
                deadline=deadline,
                where=lambda one: one.group == group and one.groups == groups and one.has(manifest),
                whom=f"searcher of group {group}",
            )
        except SightlineError as error:
            return error

    def _groups(self, manifest: Manifest) -> int:
        """Returns how many groups there are, by those that have the generation."""
        up = self._pool.up()
        if not up:
            raise Unavailable("no searcher is up", reason="NO_SEARCHER")
        able, staying = (
            [(replica.group, replica.groups) for replica in replicas if replica.has(manifest)]
            for replicas in (up, self._pool.staying())
        )
        if not able:
            message = f"no searcher has generation {manifest.generation} of {manifest.collection!r} loaded"
            raise FailedPrecondition(message, reason="GENERATION_NOT_LOADED", field="generation")
        return groups_to_ask(able, len(manifest.shards), staying=staying)


def _with_margin(deadline: float) -> float:
    return deadline - min(MARGIN, (deadline - asyncio.get_running_loop().time()) / 10)


def _fetch_request(manifest: Manifest, **wanted: object) -> searcher_pb2.FetchRequest:
    return searcher_pb2.FetchRequest(collection=manifest.collection, generation=manifest.generation, **wanted)  # type: ignore[arg-type]


def _hits(result: searcher_pb2.SearchResult) -> GroupHits | Exception:
    if result.HasField("error"):
        return error_from_message(result.error)
    return GroupHits(
        scores=np.frombuffer(result.scores, dtype="<f4"),
        rows=np.frombuffer(result.rows, dtype="<u8"),
        ids=result.ids.split(b"\0") if result.scores else [],
        documents=result.documents,
        shards=result.shards,
        images=result.images,
        matched=result.matched,
    )

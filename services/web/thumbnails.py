"""Thumbnails: those that a page asks for side by side are fetched together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from services.runtime.batcher import Batcher
from services.runtime.metrics import QueueMetrics
from sightline import SearchClient
from sightline.errors import NotFound, SightlineError
from sightline.results import StoredImage

MAX_BATCH = 64
"""Thumbnails that one call may ask for."""


@dataclass(frozen=True, slots=True)
class _Asked:
    collection: str
    generation: int
    id: str


class Thumbnails:
    """Fetches thumbnails by natural batching: what queued while the last call was away goes next, together.

    Args:
        client: where they are.
        capacity: how many may queue.
        timeout: seconds that one call may take.
    """

    def __init__(self, client: SearchClient, *, capacity: int, timeout: float) -> None:
        self._client, self._timeout = client, timeout
        self._batcher: Batcher[_Asked, StoredImage] = Batcher(
            self._fetch,
            name="thumbnails",
            capacity=capacity,
            max_weight=MAX_BATCH,
            lanes=2,
            observer=QueueMetrics("thumbnails"),
        )

    async def get(self, collection: str, id: str, generation: int, timeout: float) -> StoredImage:
        """Returns an image with its thumbnail. Raises NotFound where it has none."""
        deadline = asyncio.get_running_loop().time() + timeout
        stored = await self._batcher.submit(_Asked(collection, generation, id), deadline)
        if not stored.thumbnail:
            raise NotFound(f"{id!r} has no thumbnail", reason="NO_THUMBNAIL", field="id")
        return stored

    async def _fetch(self, asked: Sequence[_Asked]) -> Sequence[StoredImage | Exception]:
        places: dict[tuple[str, int], list[str]] = defaultdict(list)
        for one in asked:
            places[one.collection, one.generation].append(one.id)
        calls = [self._fetch_from(place, list(dict.fromkeys(ids))) for place, ids in places.items()]
        found = dict(zip(places, await asyncio.gather(*calls), strict=True))
        return [found[one.collection, one.generation][one.id] for one in asked]

    async def _fetch_from(self, place: tuple[str, int], ids: list[str]) -> dict[str, StoredImage | Exception]:
        collection, generation = place
        try:
            outcomes = await self._client.get_many(
                ids,
                collection=collection,
                thumbnails=True,
                fields=["id"],
                generation=generation,
                timeout=self._timeout,
            )
        except SightlineError as error:  # of this place, and none of the others'
            return dict.fromkeys(ids, error)
        return dict(zip(ids, outcomes, strict=True))

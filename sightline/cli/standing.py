"""How a collection stands: which of its shards answer at this moment."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sightline.errors import SightlineError
from sightline.queries import vector
from sightline.results import Collection
from sightline.surface import SearchClient


@dataclass(frozen=True)
class Standing:
    """A collection, and what a search of it reaches.

    Attributes:
        collection: as it is listed.
        answering: how many of its shards answered.
        images: how many images these have.
        missing: what is said of the rest; empty where nothing is missing.
    """

    collection: Collection
    answering: int
    images: int
    missing: str = ""

    def as_json(self) -> dict[str, Any]:
        """Returns all of it for programs."""
        seen = {"shards_answering": self.answering, "images_answering": self.images, "missing": self.missing}
        return asdict(self.collection) | seen


async def standings(client: SearchClient) -> list[Standing]:
    """Lists the collections, and searches each once."""
    return list(await asyncio.gather(*(_standing(client, one) for one in await client.collections())))


async def _standing(client: SearchClient, collection: Collection) -> Standing:
    # No cache has the answer to a direction that nobody has asked for.
    direction = vector([random.gauss(0, 1) for _ in range(collection.model.dimension)])
    try:
        result = await client.search(direction, collection=collection.name, top_k=1, fields=["id"])
    except SightlineError as error:
        return Standing(collection, 0, 0, f"{error} ({error.reason})")
    seen = result.coverage
    missing = "" if seen.complete else _told(result.degraded)
    return Standing(collection, seen.shards_answered, seen.images_searched, missing)


def _told(degraded: Sequence[Any]) -> str:
    return "; ".join(f"{one.message} ({one.reason})" for one in degraded) or "shards are missing"

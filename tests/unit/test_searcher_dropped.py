"""What a searcher and a gateway make of a collection that was dropped."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from services.gateway.catalog import Catalog
from services.searcher.holder import Holder
from services.store import Manifest, Model, Pointer, Pointers, Shard
from sightline.errors import NotFound


class Held:
    """A generation in memory, without anything in it."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.images = manifest, manifest.images


class Generations:
    """A store of one generation, whose collection may be dropped."""

    def __init__(self) -> None:
        self.found = Pointers(Pointer(1), None)

    def collections(self) -> list[str]:
        return ["birds"]

    def pointers(self, collection: str) -> Pointers:
        return self.found

    def manifest(self, collection: str, generation: int) -> Manifest:
        return Manifest(collection, generation, Model("fake", "d1", 2), 0, (Shard(0, 0, ()),))


async def test_a_searcher_lets_go_of_a_dropped_collection() -> None:
    """What was dropped is kept until gateways have noticed, then let go of, with its cached files; then it is none."""
    store, now, pruned = Generations(), [0.0], []

    def prune(collection: str, keep: Collection[int]) -> None:
        pruned.append((collection, set(keep)))

    holder = Holder(store, Held, prune=prune, linger_seconds=15, clock=lambda: now[0])  # type: ignore[arg-type]
    await holder.poll()
    assert holder.get("birds", 1).images == 0
    store.found = Pointers(None, None, dropped=True)
    await holder.poll()
    assert holder.get("birds", 1).images == 0
    now[0] = 16.0
    await holder.poll()
    with pytest.raises(NotFound, match="there is no collection"):
        holder.get("birds", 1)
    assert pruned[-1] == ("birds", set())


async def test_a_gateway_does_not_know_a_dropped_collection() -> None:
    """From the next look at the store on, the collection is NOT_FOUND."""
    store = Generations()
    catalog = Catalog(store, 60)
    await catalog.refresh()
    assert (await catalog.resolve("birds", 0)).generation == 1
    store.found = Pointers(None, None, dropped=True)
    await catalog.refresh()
    with pytest.raises(NotFound, match="there is no collection 'birds'"):
        await catalog.resolve("birds", 0)

"""Which generations are held: new ones beside the old, bad ones never instead of good ones."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest

from services.index import LoadedGeneration, load
from services.searcher.holder import Holder
from services.store import Manifest, Model, Pointer, Pointers, Store
from sightline.errors import FailedPrecondition, NotFound, Unavailable
from tests.corpus import MODEL, Corpus, flip, publish, write

CORPUS = Corpus.random(40)


class Clock:
    """Seconds that pass when told to."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class World:
    """A store on disk, a holder over it, and a note of all that was loaded."""

    def __init__(self, path: Path) -> None:
        self.path, self.store, self.clock = path, Store(str(path)), Clock()
        self.loads: list[int] = []
        self.pruned: dict[str, set[int]] = {}
        self.holder = self.hold(self.store)

    def hold(self, store: Any) -> Holder:
        """Returns a holder over a store."""
        return Holder(store, self.load, prune=self.prune, linger_seconds=10, clock=self.clock)

    def load(self, manifest: Manifest) -> LoadedGeneration:
        """Loads all shards."""
        self.loads.append(manifest.generation)
        return load(self.store, manifest, range(len(manifest.shards)))

    def prune(self, collection: str, keep: Collection[int]) -> None:
        """Notes what is of use."""
        self.pruned[collection] = set(keep)

    async def catch_up(self) -> None:
        """Polls until nothing more is due."""
        for _ in range(20):
            if not await self.holder.poll():
                return
        raise AssertionError("never done")

    def held(self, collection: str = "c") -> tuple[int, ...]:
        """Returns the generations that can be asked."""
        return next((one.generations for one in self.holder.holdings() if one.collection == collection), ())

    def refused(self, collection: str = "c") -> dict[int, str]:
        """Returns why others cannot."""
        return next((one.refused for one in self.holder.holdings() if one.collection == collection), {})

    def file(self, generation: int, name: str = "vectors.f32") -> Path:
        """Returns the path of a file of the first shard."""
        return self.path / "c" / "generations" / f"{generation:08d}" / "shard-0000" / name

    def corrupt(self, generation: int) -> bytes:
        """Flips a bit of a generation; returns what was there."""
        path = self.file(generation)
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 4]))
        return good


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An empty store, watched."""
    return World(tmp_path / "store")


async def test_an_empty_store_is_ready_and_says_so(world: World) -> None:
    """Where nothing was published there is nothing to wait for, and a query is told."""
    await world.catch_up()
    assert world.holder.settled
    with pytest.raises(FailedPrecondition) as caught:
        world.holder.get("c", 1)
    assert caught.value.reason == "NOTHING_PUBLISHED"


async def test_an_unknown_collection_is_not_found(world: World) -> None:
    """A collection that the store does not have is not found, while others are served."""
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    with pytest.raises(NotFound):
        world.holder.get("d", 1)


async def test_a_collection_without_a_current_generation_was_never_published(world: World) -> None:
    """A generation that nothing points to yet is not served, and is no reason not to be ready."""
    write(world.store, "c", CORPUS)
    await world.catch_up()
    assert world.holder.settled
    with pytest.raises(FailedPrecondition) as caught:
        world.holder.get("c", 1)
    assert caught.value.reason == "NOTHING_PUBLISHED"


async def test_current_next_and_the_one_before_are_held(world: World) -> None:
    """CURRENT comes first, then NEXT, then the one before; others are not loaded at all."""
    for _ in range(3):
        publish(world.store, "c", CORPUS)
    world.store.set_next("c", write(world.store, "c", CORPUS).generation)
    await world.catch_up()
    assert world.loads == [3, 4, 2]
    assert world.held() == (2, 3, 4)


async def test_not_ready_until_what_was_found_is_loaded(world: World) -> None:
    """A generation that was found and not loaded yet keeps the searcher from being ready."""
    publish(world.store, "c", CORPUS)
    publish(world.store, "d", CORPUS)
    assert await world.holder.poll()
    assert not world.holder.settled
    await world.catch_up()
    assert world.holder.settled


async def test_flips_and_rollbacks_keep_both_sides_at_hand(world: World) -> None:
    """Over ten flips and a rollback, CURRENT and the one before can be asked at every moment."""
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    for generation in range(2, 12):
        world.store.set_next("c", write(world.store, "c", CORPUS).generation)
        await world.catch_up()
        flip(world.store, "c", generation)
        world.store.set_next("c", None)
        await world.catch_up()
        assert {generation - 1, generation} <= set(world.held())
    world.store.commit_current("c", Pointer(11, 10), Pointer(10, 11))
    await world.catch_up()
    assert {10, 11} <= set(world.held())


async def test_what_nothing_points_to_is_dropped_after_a_while(world: World) -> None:
    """A generation stays for those who have not noticed the flip, and is let go after that, also in the cache."""
    for _ in range(2):
        publish(world.store, "c", CORPUS)
    await world.catch_up()
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    assert world.held() == (1, 2, 3)
    in_use = world.holder.get("c", 1)
    world.clock.now += 10
    await world.catch_up()
    assert world.held() == (2, 3)
    assert world.pruned["c"] == {2, 3}
    assert in_use.search(CORPUS.vectors[:1], [1])[0].ids == CORPUS.best(CORPUS.vectors[0], 1)[0]


async def test_a_corrupt_generation_is_refused_and_the_old_one_serves_on(world: World) -> None:
    """A flipped bit in NEXT is refused with the file and the reason; nothing else changes."""
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    write(world.store, "c", CORPUS)
    world.corrupt(2)
    world.store.set_next("c", 2)
    await world.catch_up()
    assert world.held() == (1,)
    assert world.refused() == {2: "shard 0: vectors.f32 has another checksum than the manifest says"}
    with pytest.raises(FailedPrecondition, match="it was refused: shard 0") as caught:
        world.holder.get("c", 2)
    assert caught.value.reason == "GENERATION_NOT_LOADED"


async def test_the_old_one_is_kept_even_when_current_moved_to_a_corrupt_one(world: World) -> None:
    """What was served is not dropped as long as the generation that took its place cannot be."""
    for _ in range(2):
        publish(world.store, "c", CORPUS)
    await world.catch_up()
    for generation in (3, 4):
        write(world.store, "c", CORPUS)
        world.corrupt(generation)
        flip(world.store, "c", generation)
    world.clock.now += 100
    await world.catch_up()
    assert world.held() == (1, 2)


async def test_a_truncated_generation_is_refused(world: World) -> None:
    """A file that was cut off is refused."""
    publish(world.store, "c", CORPUS)
    write(world.store, "c", CORPUS)
    world.file(2, "documents.bin").write_bytes(b"")
    world.store.set_next("c", 2)
    await world.catch_up()
    assert world.held() == (1,)
    assert "documents.bin has 0 bytes" in world.refused()[2]


@pytest.mark.parametrize("loaded_before", [True, False])
async def test_a_generation_of_another_model_is_refused(world: World, loaded_before: bool) -> None:
    """NEXT must come from the model that made CURRENT, whichever is seen first."""
    publish(world.store, "c", CORPUS)
    if loaded_before:
        await world.catch_up()
    write(world.store, "c", CORPUS, model=Model("other", "feedface", 32))
    world.store.set_next("c", 2)
    await world.catch_up()
    assert world.held() == (1,)
    assert "model other (feedface)" in world.refused()[2]


async def test_a_model_that_becomes_current_is_followed(world: World) -> None:
    """Once somebody moved CURRENT to the other model, that is what is served."""
    publish(world.store, "c", CORPUS)
    write(world.store, "c", CORPUS, model=Model("other", "feedface", 32))
    world.store.set_next("c", 2)
    await world.catch_up()
    flip(world.store, "c", 2)
    await world.catch_up()
    assert 2 in world.held()
    assert 2 not in world.refused()


async def test_a_generation_of_a_foreign_format_is_refused(world: World) -> None:
    """A manifest that another version wrote is refused, with what it says."""
    publish(world.store, "c", CORPUS)
    write(world.store, "c", CORPUS)
    world.store.set_next("c", 2)
    path = world.path / "c" / "generations" / "00000002" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    await world.catch_up()
    assert world.held() == (1,)
    assert "format is 99; this version reads 1" in world.refused()[2]


async def test_a_refused_generation_is_tried_again_after_a_while(world: World) -> None:
    """It is not read again at every look, but after a back-off; if it was repaired, it is loaded."""
    publish(world.store, "c", CORPUS)
    good = world.corrupt(1)
    await world.catch_up()
    await world.catch_up()
    assert world.loads == [1]
    world.file(1).write_bytes(good)
    world.clock.now += 10
    await world.catch_up()
    assert world.held() == (1,)
    assert world.refused() == {}


async def test_a_refused_generation_is_tried_at_once_when_it_is_published_anew(world: World) -> None:
    """Another manifest is another generation, whatever was refused before."""
    publish(world.store, "c", CORPUS)
    world.file(1).write_bytes(b"short")
    manifest = world.path / "c" / "generations" / "00000001" / "manifest.json"
    good = json.loads(manifest.read_text())
    await world.catch_up()
    assert world.loads == [1]
    manifest.write_text(json.dumps(good | {"attributes": [{"name": "a", "type": "int", "images": 1}]}))
    await world.catch_up()
    assert world.loads == [1, 1]


async def test_alone_a_refused_current_keeps_the_searcher_from_being_ready(world: World) -> None:
    """With nothing else to serve, a searcher that cannot load CURRENT is not ready; with something, it is."""
    publish(world.store, "c", CORPUS)
    world.corrupt(1)
    await world.catch_up()
    assert not world.holder.settled
    publish(world.store, "d", CORPUS)
    await world.catch_up()
    assert world.holder.settled


class Failing:
    """A store that can fail."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.down = True

    def collections(self) -> list[str]:
        self._check()
        return self._store.collections()

    def pointers(self, collection: str) -> Pointers:
        self._check()
        return self._store.pointers(collection)

    def manifest(self, collection: str, generation: int) -> Manifest:
        self._check()
        return self._store.manifest(collection, generation)

    def _check(self) -> None:
        if self.down:
            raise Unavailable("down")


async def test_a_store_that_is_down_changes_nothing(world: World) -> None:
    """Before the first look a store that is down delays readiness; after that it takes nothing away."""
    publish(world.store, "c", CORPUS)
    failing = Failing(world.store)
    world.holder = world.hold(failing)
    await world.catch_up()
    assert not world.holder.settled
    failing.down = False
    await world.catch_up()
    assert world.holder.settled
    failing.down = True
    world.clock.now += 1000
    await world.catch_up()
    assert world.held() == (1,)


async def test_an_unreadable_pointer_changes_nothing(world: World) -> None:
    """What is served is served on when CURRENT is spoilt."""
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    (world.path / "c" / "CURRENT").write_text("?")
    world.clock.now += 1000
    await world.catch_up()
    assert world.held() == (1,)


async def test_a_collection_that_is_gone_is_served_on(world: World) -> None:
    """A store that lost a collection, or a disk that was unmounted, takes nothing from those who ask."""
    publish(world.store, "c", CORPUS)
    await world.catch_up()
    (world.path / "c").rename(world.path / "Gone")
    world.clock.now += 1000
    await world.catch_up()
    assert world.held() == (1,)


async def test_start_returns_when_all_is_loaded_and_goes_on_looking(world: World) -> None:
    """After the start, what is published later is loaded without being asked."""
    publish(world.store, "c", CORPUS)
    holder = Holder(world.store, world.load, poll_seconds=0.05)
    await asyncio.wait_for(holder.start(), 20)
    assert holder.get("c", 1).manifest.model == MODEL
    world.store.set_next("c", write(world.store, "c", CORPUS).generation)
    for _ in range(400):
        if holder.holdings()[0].generations == (1, 2):
            break
        await asyncio.sleep(0.05)
    assert holder.holdings()[0].generations == (1, 2)
    await holder.close()

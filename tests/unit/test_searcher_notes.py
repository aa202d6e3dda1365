"""A searcher that starts while the store is silent: what it noted before, and its copies, are enough."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from services.index import Cache, LoadedGeneration, load
from services.searcher.holder import Holder
from services.searcher.notes import Notes
from services.store import Manifest, Pointer, Pointers, Store
from sightline.errors import Unavailable
from tests.corpus import Corpus, publish, write

CORPUS = Corpus.random(40)


class Far:
    """A store over a network that can be cut, and counts who asks."""

    def __init__(self) -> None:
        MemoryFileSystem.store.clear()
        MemoryFileSystem.pseudo_dirs[:] = [""]
        self.store, self.down = Store("memory://far"), False

    def collections(self) -> list[str]:
        self._ask()
        return self.store.collections()

    def pointers(self, collection: str) -> Pointers:
        self._ask()
        return self.store.pointers(collection)

    def manifest(self, collection: str, generation: int) -> Manifest:
        self._ask()
        return self.store.manifest(collection, generation)

    def _ask(self) -> None:
        if self.down:
            raise Unavailable("silent", reason="STORE_TIMEOUT")


@pytest.fixture
def far() -> Far:
    """Serves generation 1."""
    world = Far()
    publish(world.store, "c", CORPUS)
    return world


def searcher(far: Far, folder: Path) -> Holder:
    """Starts a searcher whose copies and notes are in a folder."""
    cache = Cache(folder)

    def load_all(manifest: Manifest) -> LoadedGeneration:
        if far.down:
            MemoryFileSystem.store.clear()
        return load(far.store, manifest, range(len(manifest.shards)), cache=cache)

    return Holder(far, load_all, prune=cache.prune, notes=Notes(folder / "published.json"))


async def poll(holder: Holder) -> None:
    """Lets a searcher look until nothing is due."""
    for _ in range(10):
        if not await holder.poll():
            return
    raise AssertionError("never done")


async def test_what_was_served_before_is_served_again_while_the_store_is_silent(far: Far, tmp_path: Path) -> None:
    """A searcher that is started again without a store serves the generations that it has copies of, and is ready."""
    await poll(searcher(far, tmp_path))
    far.down = True
    again = searcher(far, tmp_path)
    await poll(again)
    assert again.settled
    assert again.get("c", 1).manifest.images == 40


async def test_without_copies_a_silent_store_is_waited_for(far: Far, tmp_path: Path) -> None:
    """A searcher that never saw the store, or lost its copies, is not ready before the store is back."""
    far.down = True
    fresh = searcher(far, tmp_path)
    await poll(fresh)
    assert not fresh.settled
    far.down = False
    await poll(fresh)
    assert fresh.settled


async def test_a_copy_that_was_harmed_is_not_served(far: Far, tmp_path: Path) -> None:
    """What is loaded without the store has the checksums of the manifest, or is not loaded."""
    await poll(searcher(far, tmp_path))
    file = tmp_path / "c" / "00000001" / "shard-0000" / "vectors.f32"
    file.write_bytes(file.read_bytes()[:-1] + b"?")
    far.down = True
    again = searcher(far, tmp_path)
    await poll(again)
    assert not again.settled
    assert [one.generations for one in again.holdings()] == [()]


async def test_news_are_followed_when_the_store_is_back(far: Far, tmp_path: Path) -> None:
    """What was published meanwhile is loaded as soon as the store answers."""
    await poll(searcher(far, tmp_path))
    written = write(far.store, "c", CORPUS).generation
    far.store.commit_current("c", Pointer(1), Pointer(written, 1))
    before = dict(MemoryFileSystem.store)
    far.down = True
    again = searcher(far, tmp_path)
    await poll(again)
    assert again.holdings()[0].generations == (1,)
    MemoryFileSystem.store.update(before)
    far.down = False
    await poll(again)
    assert again.holdings()[0].generations == (1, 2)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"c": {}}', b'{"c": {"current": [], "next": 2, "manifests": []}}']
)
async def test_notes_that_cannot_be_read_are_as_good_as_none(far: Far, tmp_path: Path, content: bytes) -> None:
    """A spoilt file keeps no searcher from starting."""
    (tmp_path / "published.json").write_bytes(content)
    far.down = True
    holder = searcher(far, tmp_path)
    await poll(holder)
    far.down = False
    await poll(holder)
    assert holder.settled

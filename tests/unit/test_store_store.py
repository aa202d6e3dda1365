"""The store: drafts become generations, and one committer moves CURRENT."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from services.store import Draft, Manifest, Model, Pointer, Pointers, Store
from sightline.errors import FailedPrecondition, InvalidArgument, NotFound, Unavailable

MODEL = Model("m", "digest", 4)


class Plain(MemoryFileSystem):  # type: ignore[misc]
    """A kind of store without conditional writes."""

    protocol = "plain"

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("plain://", "memory://")))


class Stuck(MemoryFileSystem):  # type: ignore[misc]
    """A store that has fallen silent."""

    protocol = "stuck"
    let_go = threading.Event()

    def cat_file(self, path: str, **_: Any) -> bytes:
        self.let_go.wait(20)
        return b""

    def ls(self, path: str, **_: Any) -> list[str]:
        self.let_go.wait(20)
        return []


fsspec.register_implementation("plain", Plain, clobber=True)
fsspec.register_implementation("stuck", Stuck, clobber=True)


@pytest.fixture(params=["disk", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """A store that can be written to."""
    yield Store(str(tmp_path) if request.param == "disk" else "memory://unit-store")
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]


def fill(draft: Draft, shards: int = 2) -> Draft:
    """Writes shards of one file each."""
    for shard in range(shards):
        (draft.folder(shard) / "vectors.f32").write_bytes(b"data" * shard)
        draft.seal(shard, images=shard)
    return draft


def build(store: Store, collection: str = "emoji") -> Manifest:
    """Publishes a generation of two shards."""
    return fill(store.begin(collection)).publish(MODEL)


def test_a_published_draft_is_a_generation(store: Store) -> None:
    """What was sealed and published can be read back, with the checksums of its files."""
    manifest = build(store)
    assert store.collections() == ["emoji"]
    assert store.generations("emoji") == [1]
    assert store.manifest("emoji", 1) == manifest
    assert [file.size for shard in manifest.shards for file in shard.files] == [0, 4]
    assert manifest.images == 1


def test_a_draft_is_no_generation_before_it_is_published(store: Store) -> None:
    """A builder that dies leaves nothing that anybody would serve, and its number is not used again."""
    fill(store.begin("emoji"))
    assert store.generations("emoji") == []
    with pytest.raises(NotFound):
        store.manifest("emoji", 1)
    assert build(store).generation == 2


def test_a_discarded_draft_leaves_only_its_number(store: Store) -> None:
    """What was built is removed; the number stays used."""
    fill(store.begin("emoji")).discard()
    assert store.generations("emoji") == []
    assert store.begin("emoji").generation == 2


def test_a_draft_with_a_missing_shard_cannot_be_published(store: Store) -> None:
    """All shards from 0 to n - 1 must be sealed."""
    draft = store.begin("emoji")
    draft.folder(1)
    draft.seal(1, 0)
    with pytest.raises(FailedPrecondition, match="0 to n - 1"):
        draft.publish(MODEL)


def test_builders_at_the_same_time_get_numbers_of_their_own(store: Store) -> None:
    """Eight builders that begin together build eight generations."""
    with ThreadPoolExecutor(8) as pool:
        drafts = list(pool.map(lambda _: store.begin("emoji"), range(8)))
    assert sorted(draft.generation for draft in drafts) == list(range(1, 9))


def test_pointers_tell_what_is_served(store: Store) -> None:
    """CURRENT and NEXT are what was last written, and nothing before that."""
    assert store.pointers("emoji") == Pointers(None, None)
    build(store)
    build(store)
    store.commit_current("emoji", None, Pointer(1))
    store.set_next("emoji", 2)
    assert store.pointers("emoji") == Pointers(Pointer(1, 0), 2)
    store.set_next("emoji", None)
    assert store.pointers("emoji").next is None


def test_of_two_committers_exactly_one_wins(store: Store) -> None:
    """Whoever expected what is no longer so is told, and moves nothing: over 20 races, always one winner."""
    for _ in range(3):
        build(store)
    store.commit_current("emoji", None, Pointer(1))
    for _ in range(20):
        expected = store.pointers("emoji").current
        targets = [Pointer(generation, 1) for generation in (1, 2, 3)]
        rivals = [target for target in targets if target != expected]
        with ThreadPoolExecutor(3) as pool:
            outcomes = list(pool.map(_commit, [store] * len(rivals), [expected] * len(rivals), rivals))
        assert sorted(outcomes) == ["", *["CURRENT_MOVED"] * (len(rivals) - 1)]


def _commit(store: Store, expected: Pointer | None, new: Pointer) -> str:
    """Returns why CURRENT was not moved; nothing where it was."""
    try:
        store.commit_current("emoji", expected, new)
    except FailedPrecondition as error:
        return error.reason
    return ""


def test_a_rollback_moves_current_back(store: Store) -> None:
    """Rolling back is one more move of CURRENT, and can itself be undone."""
    build(store)
    build(store)
    store.commit_current("emoji", None, Pointer(1))
    store.commit_current("emoji", Pointer(1), Pointer(2, 1))
    store.commit_current("emoji", Pointer(2, 1), Pointer(1, 2))
    assert store.pointers("emoji").current == Pointer(1, 2)


def test_pointers_lead_only_to_published_generations(store: Store) -> None:
    """Nobody can point to what is not there."""
    store.begin("emoji")
    with pytest.raises(NotFound, match="no generation 1"):
        store.set_next("emoji", 1)
    with pytest.raises(NotFound, match="no generation 1"):
        store.commit_current("emoji", None, Pointer(1))
    assert store.pointers("emoji") == Pointers(None, None)


def test_a_manifest_that_was_copied_from_elsewhere_is_refused(tmp_path: Path) -> None:
    """A generation is refused under another collection's name or another number."""
    store = Store(str(tmp_path))
    build(store)
    (tmp_path / "emoji").rename(tmp_path / "photos")
    with pytest.raises(FailedPrecondition, match="is that of emoji 1"):
        store.manifest("photos", 1)


BAD_NUMBERS = ['"7"', "0", "-1", "true", "1.0", str(1 << 63), '1, "previous": -5', f'1, "previous": {1 << 63}']


@pytest.mark.parametrize("data", ["", "7", "{}", *(f'{{"generation": {numbers}}}' for numbers in BAD_NUMBERS)])
def test_an_unreadable_pointer_is_said_to_be(tmp_path: Path, data: str) -> None:
    """A pointer that is not understood is an error, not a collection without generations."""
    (tmp_path / "emoji").mkdir()
    (tmp_path / "emoji" / "CURRENT").write_text(data)
    with pytest.raises(FailedPrecondition) as caught:
        Store(str(tmp_path)).pointers("emoji")
    assert caught.value.reason == "BAD_POINTER"


def test_a_store_without_conditional_writes_is_only_read() -> None:
    """Other stores serve what was published, and refuse to be published to."""
    manifest = build(Store("memory://shared"))
    plain = Store("plain://shared")
    assert plain.manifest("emoji", 1) == manifest
    for write in (
        lambda: plain.begin("emoji"),
        lambda: plain.set_next("emoji", 1),
        lambda: plain.commit_current("emoji", None, Pointer(1)),
    ):
        with pytest.raises(FailedPrecondition, match="plain:// can only be read") as caught:
            write()
        assert caught.value.reason == "READ_ONLY_STORE"


def test_a_silent_store_is_unavailable_and_holds_nobody() -> None:
    """Reading from a store that hangs ends with the timeout."""
    store = Store("stuck://anywhere", timeout=0.05)
    began = time.monotonic()
    try:
        with pytest.raises(Unavailable) as caught:
            store.pointers("emoji")
        assert caught.value.reason == "STORE_TIMEOUT"
        with pytest.raises(Unavailable):
            store.collections()
        assert time.monotonic() - began < 5
    finally:
        Stuck.let_go.set()


def test_an_unknown_kind_of_store_is_refused() -> None:
    """A URL that fsspec does not know names the field `store`."""
    with pytest.raises(InvalidArgument, match="nonsense://") as caught:
        Store("nonsense://x")
    assert caught.value.field == "store"


def test_an_empty_store_has_no_collections(tmp_path: Path) -> None:
    """A store that is not there yet is an empty one, and what is no collection is not listed."""
    assert Store(str(tmp_path / "not-yet")).collections() == []
    (tmp_path / "lost+found").mkdir()
    assert Store(str(tmp_path)).collections() == []


def test_a_password_in_the_url_is_in_no_message() -> None:
    """Neither what cannot be opened nor what fails tells the name and password of the store's URL."""
    for url, error in (("nowhere://me:secret@x/y", InvalidArgument), ("http://me:secret@127.0.0.1:1/y/", Unavailable)):
        with pytest.raises(error) as failed:
            Store(url, timeout=5).collections()
        assert "secret" not in str(failed.value)
        assert "me:" not in str(failed.value)

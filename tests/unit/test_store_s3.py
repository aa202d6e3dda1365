"""The store on S3, against a real server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from services.store import Manifest, Model, Pointer, Pointers, Store, transfer, verify
from sightline.errors import FailedPrecondition, NotFound

CONTENT = bytes(range(256)) * 400


@pytest.fixture
def store(bucket: str) -> Store:
    """An empty bucket."""
    return Store(f"s3://{bucket}/index")


def build(store: Store) -> Manifest:
    """Publishes a generation with one file of 102,400 bytes."""
    draft = store.begin("emoji")
    (draft.folder(0) / "vectors.f32").write_bytes(CONTENT)
    draft.seal(0, 1)
    return draft.publish(Model("m", "d", 4))


def test_a_generation_goes_to_s3_and_comes_back(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was built is uploaded, listed, and fetched in parallel ranges with the right checksum."""
    monkeypatch.setattr(transfer, "RANGE", 30_000)
    manifest = build(store)
    assert (store.collections(), store.generations("emoji")) == (["emoji"], [1])
    assert store.manifest("emoji", 1) == manifest
    assert store.local_folder("emoji", 1, 0) is None
    file = manifest.shards[0].files[0]
    store.fetch("emoji", 1, 0, file, tmp_path / file.name)
    verify(tmp_path, file)
    with pytest.raises(NotFound):
        store.manifest("emoji", 2)


def test_of_several_committers_on_s3_exactly_one_wins(store: Store) -> None:
    """The first CURRENT and every move of it have one winner, and builders get numbers of their own."""
    with ThreadPoolExecutor(4) as pool:
        drafts = list(pool.map(lambda _: store.begin("emoji"), range(4)))
    assert sorted(draft.generation for draft in drafts) == [1, 2, 3, 4]
    for generation in (5, 6, 7, 8):
        assert build(store).generation == generation
    for expected in (None, Pointer(5), Pointer(6, 5)):
        before = expected.generation if expected else 4
        wins = [Pointer(before + 1, before if expected else 0)] * 4
        with ThreadPoolExecutor(4) as pool:
            outcomes = list(pool.map(_commit, [store] * 4, [expected] * 4, wins))
        assert sorted(outcomes) == ["", *["CURRENT_MOVED"] * 3]
    store.set_next("emoji", 8)
    assert store.pointers("emoji") == Pointers(Pointer(7, 6), 8)
    store.set_next("emoji", None)
    assert store.pointers("emoji").next is None


def _commit(store: Store, expected: Pointer | None, new: Pointer) -> str:
    """Returns why CURRENT was not moved; nothing where it was."""
    try:
        store.commit_current("emoji", expected, new)
    except FailedPrecondition as error:
        return error.reason
    return ""

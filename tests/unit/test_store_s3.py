"""The store on S3, against a real server."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from benchmarks.faulty import Fault, FaultyProxy
from benchmarks.s3_server import S3Server, environment
from services.store import Manifest, Model, Pointer, Pointers, Store, transfer, verify
from sightline.errors import FailedPrecondition, NotFound, Unavailable

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


@pytest.fixture
def failing(s3: S3Server) -> Iterator[FaultyProxy]:
    """The way to the server, which can be made to fail."""
    with FaultyProxy(s3.address) as proxy, environment({"AWS_ENDPOINT_URL": f"http://{proxy.address}"}):
        yield proxy


@pytest.mark.parametrize("kind", ["hang", "truncate", "error"])
def test_a_store_that_fails_is_unavailable_and_comes_back(
    failing: FaultyProxy, bucket: str, tmp_path: Path, kind: str
) -> None:
    """Whatever goes wrong, reading and writing end in time with an error that names the file, and work afterwards."""
    patient, store = Store(f"s3://{bucket}/index"), Store(f"s3://{bucket}/index", timeout=1)
    file = build(patient).shards[0].files[0]
    patient.set_next("emoji", 1)
    with failing.failing(Fault(kind)):
        began = time.monotonic()
        for what, call in (
            ("index", store.collections),
            ("emoji/CURRENT", lambda: store.pointers("emoji")),
            ("manifest.json", lambda: store.manifest("emoji", 1)),
            ("vectors.f32", lambda: store.fetch("emoji", 1, 0, file, tmp_path / "copy")),
        ):
            with pytest.raises(Unavailable, match=what):
                call()
        assert time.monotonic() - began < 10
        assert failing.harmed[kind]
    for _ in range(20):  # what hung before may hang a little longer
        with suppress(Unavailable):
            assert store.pointers("emoji") == Pointers(None, 1)
            store.fetch("emoji", 1, 0, file, tmp_path / file.name)
            break
    verify(tmp_path, file)


def test_a_commit_whose_answer_is_lost_has_won(failing: FaultyProxy, bucket: str) -> None:
    """A write that is done and then tried again, because its answer was lost, is not taken for another committer's."""
    store = Store(f"s3://{bucket}/index")
    for _ in range(2):
        build(store)
    for expected, new in ((None, Pointer(1)), (Pointer(1), Pointer(2, 1))):
        with failing.failing(Fault("lose", method="PUT", path="CURRENT", times=1)):
            store.commit_current("emoji", expected, new)
        assert failing.harmed["lose"] == 1
        assert store.pointers("emoji").current == new


def test_a_commit_that_fails_says_that_it_is_not_known_to_have_happened(failing: FaultyProxy, bucket: str) -> None:
    """Where a store fails in the middle of a commit, the error says to look first."""
    store = Store(f"s3://{bucket}/index")
    build(store)
    with failing.failing(Fault("error", method="PUT", path="CURRENT")), pytest.raises(Unavailable, match="not known"):
        store.commit_current("emoji", None, Pointer(1))
    assert store.pointers("emoji").current is None


def _commit(store: Store, expected: Pointer | None, new: Pointer) -> str:
    """Returns why CURRENT was not moved; nothing where it was."""
    try:
        store.commit_current("emoji", expected, new)
    except FailedPrecondition as error:
        return error.reason
    return ""

"""Generations on their way into memory: every fault is a refusal with its reason."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fsspec.implementations.memory import MemoryFileSystem

from services.index import Cache, LoadedGeneration, load
from services.index.loading import ABANDONED_SECONDS
from services.store import File, Manifest, Model, Shard, Store
from services.store.transfer import checksum
from sightline.errors import FailedPrecondition
from tests.corpus import Corpus, write

CORPUS = Corpus.random(60)


def flip_bit(path: Path) -> None:
    """Changes one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def truncate(path: Path) -> None:
    """Cuts off the end of a file."""
    path.write_bytes(path.read_bytes()[:-4])


FILES = [f"{name}.{end}" for name in ("ids", "documents", "thumbnails") for end in ("bin", "idx")]


@pytest.mark.parametrize("name", ["vectors.f32", *FILES, "index.faiss"])
@pytest.mark.parametrize(
    ("harm", "fault"),
    [(flip_bit, "another checksum"), (truncate, "bytes, the manifest says"), (Path.unlink, "missing")],
)
def test_a_changed_file_is_refused_with_its_name(
    tmp_path: Path, name: str, harm: Callable[[Path], None], fault: str
) -> None:
    """A flipped bit, a truncated and a missing file are refused, and the reason names shard and file."""
    store = Store(str(tmp_path))
    manifest = write(store, "c", CORPUS, shards=2, index="IVF4,SQfp16")
    harm(tmp_path / "c" / "generations" / "00000001" / "shard-0001" / name)
    assert load(store, manifest, [0]).images == manifest.shards[0].images
    with pytest.raises(FailedPrecondition, match=f"shard 1: {name} .*{fault}") as caught:
        load(store, manifest, [0, 1])
    assert caught.value.reason == "CORRUPT_GENERATION"


def test_files_of_another_dimension_are_refused(tmp_path: Path) -> None:
    """Vectors that are not as long as the manifest's model makes them are refused."""
    store = Store(str(tmp_path))
    manifest = write(store, "c", CORPUS)
    with pytest.raises(FailedPrecondition, match="not those of 60 vectors of 64"):
        load(store, replace(manifest, model=Model("m", "d", 64)), [0])


def test_an_index_that_does_not_belong_to_its_vectors_is_refused(tmp_path: Path) -> None:
    """An index of other vectors is refused even where its checksum is right."""
    store = Store(str(tmp_path))
    write(store, "c", Corpus.random(70), index="SQfp16")
    manifest = write(store, "c", CORPUS, index="SQfp16")
    home = tmp_path / "c" / "generations"
    path = home / "00000002" / "shard-0000" / "index.faiss"
    for content, fault in [((home / "00000001/shard-0000/index.faiss").read_bytes(), "70 rows"), (b"?" * 99, "index")]:
        path.write_bytes(content)
        with pytest.raises(FailedPrecondition, match=fault):
            load(store, sealed_again(manifest, path), [0])


def sealed_again(manifest: Manifest, path: Path) -> Manifest:
    """Returns the manifest with the size and the checksum that the file has now."""
    file = File(path.name, path.stat().st_size, checksum(path))
    files = tuple(file if one.name == path.name else one for one in manifest.shards[0].files)
    return replace(manifest, shards=(replace(manifest.shards[0], files=files),))


def test_a_manifest_without_a_file_that_is_needed_is_refused(tmp_path: Path) -> None:
    """A shard must have all its files."""
    store = Store(str(tmp_path))
    manifest = write(store, "c", CORPUS)
    bare = replace(manifest, shards=(Shard(0, 60, manifest.shards[0].files[:2]),))
    with pytest.raises(FailedPrecondition, match="lists no"):
        load(store, bare, [0])


@pytest.fixture
def far() -> Store:
    """A store that is not on this machine's disk."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return Store("memory://far")


def test_a_far_store_is_copied_once(far: Store, tmp_path: Path) -> None:
    """Shards are copied to the cache, and read from there the next time, even when the store has lost them."""
    manifest = write(far, "c", CORPUS, shards=2)
    cache = Cache(tmp_path)
    assert load(far, manifest, [0, 1], cache=cache).images == 60
    for path in [path for path in MemoryFileSystem.store if "shard-" in path]:
        del MemoryFileSystem.store[path]
    assert load(far, manifest, [0, 1], cache=cache).images == 60


def test_a_damaged_copy_is_fetched_again(far: Store, tmp_path: Path) -> None:
    """A copy whose checksum is wrong is not used, and not kept."""
    manifest = write(far, "c", CORPUS)
    cache = Cache(tmp_path)
    load(far, manifest, [0], cache=cache)
    flip_bit(tmp_path / "c" / "00000001" / "shard-0000" / "vectors.f32")
    again = load(far, manifest, [0], cache=cache)
    assert again.search(CORPUS.vectors[:1], [60])[0].ids == CORPUS.best(CORPUS.vectors[0], 60)[0]


def test_a_copy_that_is_refused_leaves_nothing_behind(far: Store, tmp_path: Path) -> None:
    """A corrupt generation in a far store is refused, and the cache stays empty."""
    manifest = write(far, "c", CORPUS)
    path = next(path for path in MemoryFileSystem.store if path.endswith("vectors.f32"))
    content = bytearray(MemoryFileSystem().cat_file(path))
    content[7] ^= 1
    MemoryFileSystem().pipe_file(path, bytes(content))
    with pytest.raises(FailedPrecondition, match=r"vectors\.f32 has another checksum"):
        load(far, manifest, [0], cache=Cache(tmp_path))
    assert not list(tmp_path.rglob("*.*"))


def test_processes_that_share_a_cache_leave_each_other_alone(far: Store, tmp_path: Path) -> None:
    """What another process is copying survives a copy of the same shard and pruning; what was left goes."""
    manifest = write(far, "c", CORPUS)
    home = tmp_path / "c" / "00000001"
    theirs, left = (home / name for name in (f"shard-0000.{os.getpid()}.tmp", "shard-0000.left.tmp"))
    for folder in (theirs, left):
        folder.mkdir(parents=True)
        (folder / "vectors.f32").write_bytes(b"half")
    long_ago = time.time() - 2 * ABANDONED_SECONDS
    for path in (left / "vectors.f32", left):
        os.utime(path, (long_ago, long_ago))
    cache = Cache(tmp_path)
    load(far, manifest, [0], cache=cache)
    cache.prune("c", {2})
    assert sorted(path.name for path in home.iterdir()) == ["shard-0000", theirs.name]
    os.utime(theirs / "vectors.f32", (long_ago, long_ago))
    os.utime(theirs, (long_ago, long_ago))
    cache.prune("c", {2})
    assert not home.exists()


def test_a_far_store_needs_a_cache(far: Store) -> None:
    """Without a place to copy to, a far store is refused."""
    with pytest.raises(FailedPrecondition, match="cache_dir"):
        load(far, write(far, "c", CORPUS), [0])


def test_what_is_pruned_stays_readable_for_those_who_hold_it(far: Store, tmp_path: Path) -> None:
    """Pruning removes copies from the disk, never from under a query."""
    cache = Cache(tmp_path)
    loaded: list[LoadedGeneration] = [load(far, write(far, "c", CORPUS), [0], cache=cache) for _ in range(3)]
    cache.prune("c", {2, 3})
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["00000002", "00000003"]
    shutil.rmtree(tmp_path / "c")
    assert loaded[0].search(CORPUS.vectors[:1], [1])[0].scores[0] == pytest.approx(1)

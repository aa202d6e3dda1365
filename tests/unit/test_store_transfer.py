"""Copies of files, and what is refused of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fsspec.implementations.local import LocalFileSystem

from services.store import File, Manifest, Model, Store, transfer, verify
from sightline.errors import FailedPrecondition, Unavailable

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def published(tmp_path: Path) -> tuple[Store, Manifest]:
    """A generation of one shard with one file of 10,240 bytes."""
    store = Store(str(tmp_path / "store"))
    draft = store.begin("emoji")
    (draft.folder(0) / "vectors.f32").write_bytes(CONTENT)
    draft.seal(0, 1)
    return store, draft.publish(Model("m", "d", 4))


@pytest.mark.parametrize("size", [100, 1000, 10_239, 10_240, 1 << 20])
def test_a_file_arrives_whole_in_any_ranges(
    published: tuple[Store, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """Ranges that do and do not divide the file give the file."""
    monkeypatch.setattr(transfer, "RANGE", size)
    store, manifest = published
    store.fetch("emoji", 1, 0, manifest.shards[0].files[0], tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == CONTENT


def test_a_file_that_is_missing_or_cut_is_refused(published: tuple[Store, Manifest], tmp_path: Path) -> None:
    """A copy of a file that is not as long as its manifest says fails, with the reason."""
    store, manifest = published
    file = manifest.shards[0].files[0]
    folder = store.local_folder("emoji", 1, 0)
    assert folder
    (folder / file.name).write_bytes(CONTENT[:-1])
    with pytest.raises(FailedPrecondition, match="another size"):
        store.fetch("emoji", 1, 0, file, tmp_path / "copy")
    (folder / file.name).unlink()
    with pytest.raises(FailedPrecondition, match=r"vectors\.f32 is missing"):
        store.fetch("emoji", 1, 0, file, tmp_path / "copy")


def test_a_file_that_arrives_cut_is_tried_again(
    published: tuple[Store, Manifest], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the store has the whole file and sends less, the way to it is at fault, not the generation."""
    store, manifest = published
    read = LocalFileSystem.cat_file
    monkeypatch.setattr(LocalFileSystem, "cat_file", lambda *args, **said: read(*args, **said)[:-1])
    with pytest.raises(Unavailable, match=r"vectors\.f32: the store sent 10239 bytes where 10240 were") as caught:
        store.fetch("emoji", 1, 0, manifest.shards[0].files[0], tmp_path / "copy")
    assert caught.value.reason == "CUT_SHORT"


@pytest.mark.parametrize(
    ("content", "fault"),
    [(None, "is missing"), (CONTENT[:-1], "has 10239 bytes"), (CONTENT[:-1] + b"?", "another checksum")],
)
def test_a_file_that_is_not_the_published_one_is_refused(tmp_path: Path, content: bytes | None, fault: str) -> None:
    """A missing, a truncated and a changed file are told apart."""
    path = tmp_path / "vectors.f32"
    path.write_bytes(CONTENT)
    file = File(path.name, len(CONTENT), transfer.checksum(path))
    verify(tmp_path, file)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(FailedPrecondition, match=fault) as caught:
        verify(tmp_path, file)
    assert caught.value.reason == "CORRUPT_GENERATION"

"""A build in stages: ended anywhere it goes on, by whomever it ends in the same bytes; two builds are never mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.index import load
from services.indexer import build as building
from services.indexer.build import World, build
from services.indexer.documents import document
from services.indexer.page import render
from services.indexer.plan import Plan
from services.indexer.reading import Reader
from services.indexer.rows import Refusal
from services.indexer.sources import open_source
from services.indexer.stages.shares import Share
from services.indexer.stages.train import train_index
from services.indexer.work import Work
from services.store import Manifest, Store
from sightline.errors import FailedPrecondition, InvalidArgument, SightlineError
from tests.unit.indexer_fakes import BROKEN, DIMENSION, FakeEncoder, picture_bytes


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours catches it."""


class DyingWork(Work):
    """A work folder whose n-th write is the last thing that happens, just before or just after it."""

    def __init__(self, url: str, writes: int, *, after: bool) -> None:
        super().__init__(url, name="work")
        self._left, self._after = writes, after

    def write(self, path: str, data: bytes) -> None:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise Killed
        super().write(path, data)
        if self._left == 0:
            raise Killed

    def remove(self, path: str) -> None:
        self._left -= 1
        if self._left == 0:
            raise Killed
        super().remove(path)


class Quiet:
    """Progress that nobody watches."""

    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, images: int) -> None: ...


@dataclass
class Place:
    """A store, and builds of one source into it."""

    source: Path
    store: Store
    index: str = "Flat"

    def world(self, stack: ExitStack, work: Work | None = None, encoder: FakeEncoder | None = None) -> World:
        """What a build works with."""
        executor = stack.enter_context(ThreadPoolExecutor(2))
        self.refused: list[Refusal] = []
        return World(
            store=self.store,
            work=work or self.work,
            connect=lambda: encoder or FakeEncoder(),
            document=document,
            reader_for=lambda model: Reader(model.preparation, executor),
            render=render,
            refuse=self.refused.append,
            warn=lambda text: None,
            progress=Quiet(),
        )

    def plan(self, **changed: Any) -> Plan:
        """Small chunks, so that there are many."""
        return replace(Plan("birds", shards=3, index=self.index, chunk=10, source=str(self.source)), **changed)

    def build(
        self, work: Work | None = None, encoder: FakeEncoder | None = None, restart: bool = False, **plan: Any
    ) -> Manifest:
        """Builds, or goes on building."""
        with ExitStack() as stack:
            world = self.world(stack, work, encoder)
            return build(self.plan(**plan), open_source(str(self.source)), world, restart=restart).manifest

    @property
    def work(self) -> Work:
        """Where builds leave what they have."""
        return Work(f"{self.store.url}/birds/work", name="work")

    def digests(self) -> dict[str, str]:
        """A digest of each file of all generations."""
        home = Path(self.store.url) / "birds" / "generations"
        files = [file for file in sorted(home.rglob("*")) if file.is_file()]
        return {str(file.relative_to(home)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A list of 45 rows: 36 good ones, some ids twice, pictures that are broken, attributes that do not fit."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    lines = []
    for i in range(36):
        (folder / f"{i}.png").write_bytes(picture_bytes(grey=i))
        lines.append({"id": f"p{i}", "uri": f"{i}.png", "attributes": {"n": i if i % 5 else i / 2, "tag": f"t{i % 3}"}})
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
        lines.insert(7, {"id": f"broken-{name}", "uri": name, "attributes": {"tag": 1}})
    lines += [{"id": "p3", "uri": "4.png"}, {"id": "odd", "uri": "5.png", "attributes": {"n": "nine", "fresh": 1}}]
    file = folder / "images.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines) + "{\n")
    return file


@pytest.fixture
def places(tmp_path: Path, source: Path) -> Iterator[Place]:
    """Ever new places to build in."""
    return (Place(source, Store(str(tmp_path / f"store-{number}"))) for number in range(1000))


@pytest.mark.parametrize(("index", "step"), [("Flat", 4), ("IVF2,SQfp16", 11)])
def test_killed_anywhere_it_ends_in_the_same_bytes(places: Iterator[Place], index: str, step: int) -> None:
    """Ended before or after any of its writes, down to its tidying up, a build that is begun again ends in the bytes of
    one that nobody disturbed: one generation, one manifest, and no work left."""
    whole = replace(next(places), index=index)
    assert whole.build().generation == 1
    expected = whole.digests()
    # Every n-th write, in turn before and after it. With a step of 1 it takes a minute.
    for deaths, writes in enumerate(range(1, 200, step)):
        place = replace(next(places), index=index)
        try:
            place.build(DyingWork(place.work.url, writes, after=deaths % 2 == 0))
        except Killed:
            place.build()
        else:
            assert deaths * step > 30
            return
        assert place.digests() == expected, writes
        assert place.store.pointers("birds").next == 1
        assert not (Path(place.store.url) / "birds" / "work").exists()
    raise AssertionError("it never ended")


def test_what_is_there_is_not_done_again(places: Iterator[Place]) -> None:
    """Chunks that were encoded are not encoded again, and nothing that was refused is forgotten."""
    place = next(places)
    with pytest.raises(Killed):
        place.build(DyingWork(place.work.url, 16, after=True))
    encoder = FakeEncoder()
    place.build(encoder=encoder)
    assert 0 < sum(encoder.batches) < 36
    again = [refusal.reason for refusal in place.refused]
    whole = next(places)
    whole.build()
    assert again == [refusal.reason for refusal in whole.refused]
    assert len(again) == len(BROKEN) + 3


def test_stages_by_shares_make_the_same_bytes(places: Iterator[Place], source: Path) -> None:
    """Each stage in shares, in any order, by processes that share nothing but the work folder: the same generation."""
    whole, place = next(places), next(places)
    whole.build()
    shares = [Share(2, 3), Share(0, 3), Share(1, 3)]
    with ExitStack() as stack:
        world, pictures = place.world(stack), open_source(str(source))
        for share in shares:
            begun = building.begin(place.plan(), pictures, world)
            building.read_share(begun, pictures, world, share)
        for share in shares:
            building.encode_share(begun, world, share)
        train_index(world.work, begun, world.progress)
        with pytest.raises(FailedPrecondition, match=r"the stage fill has not ended: 3 of 3 shards"):
            building.finish(begun, world)
        for share in shares:
            building.fill_share(begun, world, share)
        building.finish(begun, world)
    assert place.digests() == whole.digests()


def test_a_stage_before_its_time_says_what_is_missing(places: Iterator[Place], source: Path) -> None:
    """A stage that begins before the one before it has ended says so, and how much is missing."""
    place = next(places)
    with ExitStack() as stack:
        world, pictures = place.world(stack), open_source(str(source))
        begun = building.begin(place.plan(), pictures, world)
        with pytest.raises(FailedPrecondition, match="the stage read has not ended: 1 of 1 parts"):
            building.encode_share(begun, world)
        building.read_share(begun, pictures, world)
        building.encode_share(begun, world, Share(0, 2))
        with pytest.raises(FailedPrecondition, match="the stage encode has not ended: 2 of 5 chunks are missing"):
            train_index(world.work, begun, world.progress)
        with pytest.raises(FailedPrecondition, match="the stage train has not ended"):
            building.fill_share(begun, world)


def half_done(place: Place) -> None:
    with pytest.raises(Killed):
        place.build(DyingWork(place.work.url, 14, after=True))


@pytest.mark.parametrize("change", [{"shards": 5}, {"scope": "emoji"}, {"chunk": 7}])
def test_another_build_is_never_mixed_in(places: Iterator[Place], change: dict[str, Any]) -> None:
    """Where a build has begun, another one is refused and says what differs; --restart throws the first one away."""
    place = next(places)
    half_done(place)
    with pytest.raises(
        FailedPrecondition, match=f"another build has begun in .*--{next(iter(change))} was .*--restart"
    ):
        place.build(**change)
    assert place.build(restart=True, **change).generation == 1
    fresh = next(places)
    fresh.build(**change)
    assert place.digests() == fresh.digests()


def test_a_source_that_has_changed_is_noticed(places: Iterator[Place], source: Path) -> None:
    """A source that was written anew meanwhile is another source."""
    place = next(places)
    half_done(place)
    source.write_text(source.read_text() + "\n")
    with pytest.raises(FailedPrecondition, match="source has changed since"):
        place.build()


def test_encoders_that_have_changed_are_noticed(places: Iterator[Place]) -> None:
    """Vectors of two models never come together."""
    place = next(places)
    half_done(place)
    other = FakeEncoder()
    other.model = replace(other.model, digest="d2", name="other")
    with pytest.raises(FailedPrecondition, match="model was fake, is other"):
        place.build(encoder=other)


def test_another_index_takes_what_was_encoded(places: Iterator[Place]) -> None:
    """An index that needs more images than there are costs nothing: with another, the build goes on where it was."""
    place, fresh = next(places), next(places)
    with pytest.raises(InvalidArgument, match="IVF64"):
        place.build(index="IVF64,Flat")
    encoder = FakeEncoder()
    place.build(encoder=encoder, index="IVF2,Flat")
    assert encoder.batches == []
    fresh.build(index="IVF2,Flat")
    assert place.digests() == fresh.digests()


def test_two_are_not_at_it_at_the_same_time(places: Iterator[Place]) -> None:
    """While a build runs in a work folder of this machine, another is refused."""
    place = next(places)
    with place.work.alone("build"), pytest.raises(FailedPrecondition, match="another process is at this"):
        place.build()
    assert place.build().generation == 1


def test_work_may_lie_elsewhere(places: Iterator[Place]) -> None:
    """The work folder may be on any file system that fsspec writes to; nothing of it is left there."""
    place, whole = next(places), next(places)
    whole.build()
    place.build(Work("memory://elsewhere/work", name="work"))
    assert place.digests() == whole.digests()
    assert Work("memory://elsewhere/work").begun() is None


def test_what_else_lies_in_a_work_folder_stays(places: Iterator[Place], tmp_path: Path) -> None:
    """A folder that is given as work folder loses only what the build has put there."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    next(places).build(Work(str(tmp_path / "mine")))
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["letter.txt"]


def test_an_id_belongs_to_the_first_good_row_that_fits(places: Iterator[Place]) -> None:
    """Types are those of the first rows that have a picture, numbers make room, and what does not fit is refused."""
    place = next(places)
    manifest = place.build()
    assert [(one.name, one.type, one.images) for one in manifest.attributes] == [
        ("n", "double", 36),
        ("tag", "string", 36),
    ]
    reasons = {refusal.line: refusal.reason for refusal in place.refused}
    assert reasons[43] == "the id 'p3' is taken by line 4"
    assert reasons[44] == "attributes.n: is string here and double in earlier rows"
    assert "not JSON" in reasons[45]


def test_ready_made_vectors_are_never_encoded(tmp_path: Path) -> None:
    """Rows with vectors go into the index as they are, without an encoder being asked for any."""
    vectors = np.random.default_rng(3).standard_normal((50, DIMENSION)).astype(np.float32)
    np.save(tmp_path / "vectors.npy", vectors)
    place, encoder = Place(tmp_path / "vectors.npy", Store(str(tmp_path / "store"))), FakeEncoder()
    manifest = place.build(encoder=encoder)
    assert (manifest.images, encoder.batches) == (50, [])
    loaded = load(place.store, manifest, range(3))
    (hits,) = loaded.search(vectors[:1] / np.linalg.norm(vectors[0]), [1])
    assert hits.ids == [b"000000000000"]


@pytest.mark.parametrize("said", ["3/3", "0/0", "-1/2", "1", "a/b", "1/2/3"])
def test_a_share_that_is_none_is_named(said: str) -> None:
    """--part counts from 0 up to one less than there are."""
    with pytest.raises(SightlineError, match="--part"):
        Share.parse(said)

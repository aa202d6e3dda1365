"""A build by several processes at once: the same bytes, whoever is late or dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from services.indexer.build import Built, begin
from services.indexer.plan import Begun, Plan
from services.indexer.sources import open_source
from services.indexer.stages.shares import Share
from services.indexer.together import await_sealed, build_together
from services.indexer.work import Work
from sightline.errors import DeadlineExceeded, FailedPrecondition
from tests.unit.test_indexer_stages import DyingWork, Killed, Place, places, source

__all__ = ["places", "source"]  # fixtures

PARTS = 3


def part(
    place: Place, index: int, *, work: Work | None = None, plan: Plan | None = None, patience: float = 30.0
) -> Built | None:
    """Does one process's share, as that process would."""
    with ExitStack() as stack:
        world, pictures = place.world(stack, work), open_source(str(place.source))
        return build_together(plan or place.plan(), pictures, world, Share(index, PARTS), patience=patience)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(PARTS) as executor:
        yield executor


def test_parts_make_the_same_bytes(places: Iterator[Place], pool: ThreadPoolExecutor) -> None:
    """Three processes that build together end in the bytes of one; the first has the generation, and tidies up."""
    whole, place = next(places), next(places)
    whole.build()
    begun: list[Future[Built | None]] = [pool.submit(part, place, index) for index in (2, 1, 0)]
    others, first = [one.result() for one in begun[:2]], begun[2].result()
    assert others == [None, None]
    assert first is not None
    assert first.manifest.generation == 1
    assert place.digests() == whole.digests()
    assert not (Path(place.store.url) / "birds" / "work").exists()


@pytest.mark.parametrize("dying", range(PARTS))
def test_a_part_that_dies_is_waited_for(places: Iterator[Place], pool: ThreadPoolExecutor, dying: int) -> None:
    """Where one of them is killed the others wait, and when it is started again it goes on where it was."""
    whole, place = next(places), next(places)
    whole.build()

    def twice(index: int) -> Built | None:
        if index == dying:
            with pytest.raises(Killed):
                part(place, index, work=DyingWork(place.work.url, 3, after=True))
        return part(place, index)

    built = list(pool.map(twice, range(PARTS)))
    assert [one is None for one in built] == [False, True, True]
    assert place.digests() == whole.digests()


def test_a_part_alone_says_what_it_waited_for(places: Iterator[Place]) -> None:
    """Whoever waits in vain says for what: for the build to begin, or for the stage that has not ended."""
    place = next(places)
    with pytest.raises(DeadlineExceeded, match="no such build has begun in"):
        part(place, 1, patience=0.3)
    with pytest.raises(DeadlineExceeded, match="the stage encode has not ended: 3 of 5 chunks are missing"):
        part(place, 0, patience=0.3)


class SeenWork(Work):
    """A work folder that says when it was seen that a build has begun in it."""

    def __init__(self, url: str) -> None:
        super().__init__(url, name="work")
        self.seen = threading.Event()

    def begun(self) -> Begun | None:
        found = super().begun()
        if found is not None:
            self.seen.set()
        return found


def test_a_build_that_is_given_up_ends_all_its_parts(
    places: Iterator[Place], pool: ThreadPoolExecutor, tmp_path: Path
) -> None:
    """Where nothing could be indexed, the first part says so, and the others do not wait for what will never come."""
    file = tmp_path / "nothing.jsonl"
    file.write_text('{"uri": "nowhere.png"}\n')
    place = Place(file, next(places).store)
    with ExitStack() as stack:
        begin(place.plan(), open_source(str(file)), place.world(stack))
    seen = SeenWork(place.work.url)
    other = pool.submit(part, place, 1, work=seen)
    assert seen.seen.wait(30)
    with pytest.raises(FailedPrecondition, match="nothing could be indexed"):
        part(place, 0)
    with pytest.raises(FailedPrecondition, match="has given it up"):
        other.result()


def test_a_publisher_waits_for_the_build(places: Iterator[Place]) -> None:
    """Whoever publishes what is built in a work folder waits until that has come to an end."""
    place = next(places)
    with pytest.raises(DeadlineExceeded, match="no build has ended in"):
        await_sealed(place.work, 0.3)

    def build() -> None:
        with ExitStack() as stack:
            world, pictures = place.world(stack), open_source(str(place.source))
            build_together(place.plan(), pictures, world, Share(), patience=30, keep=True)

    building = threading.Thread(target=build)
    building.start()
    assert await_sealed(place.work, 30).generation == 1
    building.join()

"""Publishing: CURRENT moves when every group serves the generation, and never before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from services.indexer.ports import SearcherStatus
from services.indexer.publish import Wait, judge, publish, rollback
from services.store import Model, Pointer, Store
from sightline.errors import DeadlineExceeded, FailedPrecondition, NotFound

QUICK = Wait(timeout=0.0)


class FakeSearchers:
    """Says what it is told to say, one list after the other, the last for ever."""

    def __init__(self, *answers: list[SearcherStatus], then: Callable[[], None] = lambda: None) -> None:
        self.answers = list(answers)
        self.asked = 0
        self._then = then

    async def statuses(self, collection: str) -> list[SearcherStatus]:
        answer = self.answers[min(self.asked, len(self.answers) - 1)]
        self.asked += 1
        self._then()
        return answer


def searcher(group: int, *loaded: int, name: str = "a", groups: int = 2, **more: object) -> SearcherStatus:
    return SearcherStatus(f"{name}{group}", group, groups, frozenset(loaded), **more)  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A store with three generations, of which none is CURRENT and the third is NEXT."""
    store = Store(str(tmp_path / "store"))
    for _ in range(3):
        draft = store.begin("birds")
        draft.folder(0).joinpath("file").write_bytes(b"x")
        draft.seal(0, 1)
        draft.publish(Model("m", "d", 2))
    store.set_next("birds", 3)
    return store


async def test_it_flips_when_every_group_serves(store: Store) -> None:
    """With NEXT on every group, CURRENT moves there and NEXT is cleared."""
    searchers = FakeSearchers([searcher(0, 3), searcher(1, 3)])
    assert await publish(store, "birds", searchers) == Pointer(3, 0)
    assert store.pointers("birds").current == Pointer(3, 0)
    assert store.pointers("birds").next is None


async def test_it_waits_for_those_that_load(store: Store) -> None:
    """Searchers that have not loaded it yet are waited for, and named meanwhile."""
    told: list[str] = []
    searchers = FakeSearchers([searcher(0, 3), searcher(1)], [searcher(0, 3), searcher(1, 3)])
    await publish(store, "birds", searchers, wait=Wait(timeout=30), tell=told.append)
    assert searchers.asked == 2
    assert told == ["waiting for generation 3: group 1: 0 of 1 serve it; a1 has not loaded it yet"]


async def test_a_refusal_keeps_current(store: Store) -> None:
    """A group that refuses NEXT ends the publish at once, with its reason, and CURRENT stays."""
    store.commit_current("birds", None, Pointer(2))
    searchers = FakeSearchers([searcher(0, 2, 3), searcher(1, 2, refused={3: "checksum of shard 1"})])
    with pytest.raises(FailedPrecondition, match="a1 refuses it: checksum of shard 1"):
        await publish(store, "birds", searchers, wait=Wait(timeout=30))
    assert searchers.asked == 1
    assert store.pointers("birds").current == Pointer(2)


async def test_time_over_keeps_current(store: Store) -> None:
    """Where a group lacks NEXT until the time is over, CURRENT stays."""
    store.commit_current("birds", None, Pointer(2))
    with pytest.raises(DeadlineExceeded, match="group 1: 0 of 1 serve it"):
        await publish(store, "birds", FakeSearchers([searcher(0, 3), searcher(1)]), wait=QUICK)
    assert store.pointers("birds").current == Pointer(2)


async def test_a_lost_race_keeps_the_winner(store: Store) -> None:
    """Where another committer moves CURRENT meanwhile, this one fails and changes nothing."""
    searchers = FakeSearchers(
        [searcher(0, 3), searcher(1, 3)], then=lambda: store.commit_current("birds", None, Pointer(2))
    )
    with pytest.raises(FailedPrecondition):
        await publish(store, "birds", searchers)
    assert store.pointers("birds").current == Pointer(2)


async def test_a_named_generation_becomes_next_first(store: Store) -> None:
    """Naming a generation points NEXT to it, so that searchers load it while the committer waits."""
    seen: list[int | None] = []
    searchers = FakeSearchers([searcher(0, 1), searcher(1, 1)], then=lambda: seen.append(store.pointers("birds").next))
    assert await publish(store, "birds", searchers, generation=1) == Pointer(1, 0)
    assert seen == [1]


async def test_publishing_twice_is_publishing_once(store: Store) -> None:
    """A publish of what is already CURRENT succeeds, asks nobody, and keeps what was before."""
    await publish(store, "birds", None, generation=2)
    await publish(store, "birds", None, generation=3)
    searchers = FakeSearchers([])
    assert await publish(store, "birds", searchers, generation=3) == Pointer(3, 2)
    assert searchers.asked == 0


async def test_without_anything_to_publish_it_says_so(store: Store) -> None:
    """Nothing is published by accident: NEXT must point somewhere, and to something that exists."""
    with pytest.raises(NotFound):
        await publish(store, "birds", None, generation=9)
    store.set_next("birds", None)
    with pytest.raises(FailedPrecondition, match="NEXT of birds points to nothing"):
        await publish(store, "birds", None)


async def test_rollback_returns_to_the_generation_before(store: Store) -> None:
    """A rollback swaps CURRENT with the generation before, so that it can itself be rolled back."""
    await publish(store, "birds", None, generation=2)
    await publish(store, "birds", None, generation=3)
    assert await rollback(store, "birds", FakeSearchers([searcher(0, 2, 3), searcher(1, 2, 3)])) == Pointer(2, 3)
    assert await rollback(store, "birds", None) == Pointer(3, 2)


async def test_rollback_needs_the_generation_before_on_every_group(store: Store) -> None:
    """A rollback to what a group no longer serves does not happen."""
    await publish(store, "birds", None, generation=2)
    await publish(store, "birds", None, generation=3)
    with pytest.raises(DeadlineExceeded):
        await rollback(store, "birds", FakeSearchers([searcher(0, 2, 3), searcher(1, 3)]), wait=QUICK)
    assert store.pointers("birds").current == Pointer(3, 2)


async def test_rollback_without_a_generation_before_is_refused(store: Store) -> None:
    """The first generation cannot be rolled back."""
    await publish(store, "birds", None)
    with pytest.raises(NotFound, match="no generation before"):
        await rollback(store, "birds", None)


@pytest.mark.parametrize(
    ("statuses", "min_replicas", "ready", "hopeless"),
    [
        ([], 0, False, False),
        ([searcher(0, 7), searcher(1, 7)], 0, True, False),
        ([searcher(0, 7)], 0, False, False),  # nobody of group 1
        ([searcher(0, 7), searcher(1, 7), searcher(1, name="b")], 0, False, False),  # a replica still loads
        ([searcher(0, 7), searcher(1, 7), searcher(1, name="b")], 1, True, False),
        ([searcher(0, 7), searcher(1, 7), SearcherStatus("b1", error="gone")], 0, True, False),  # a dead replica
        ([searcher(0, 7), SearcherStatus("a1", error="gone")], 0, False, False),
        ([searcher(0, 7), searcher(1, 7)], 2, False, False),  # more replicas may come
        ([searcher(0, 7), searcher(1, 7), searcher(1, name="b", refused={7: "bad"})], 0, False, True),
        ([searcher(0, 7), searcher(1, 7), searcher(1, name="b", refused={7: "bad"})], 1, True, False),
        ([searcher(0, 7), searcher(1, refused={6: "bad"})], 0, False, False),  # refused another generation
        ([searcher(0, 7, groups=1), searcher(1, 7)], 0, False, False),  # groups are being changed
    ],
)
def test_the_verdict(statuses: list[SearcherStatus], min_replicas: int, ready: bool, hopeless: bool) -> None:
    """Ready: enough replicas of every group serve it. Hopeless: refusals make that impossible."""
    verdict = judge(statuses, 7, min_replicas)
    assert (verdict.ready, verdict.hopeless) == (ready, hopeless)
    assert verdict.ready or verdict.missing

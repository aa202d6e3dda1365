"""Taking away: what is served stays, numbers are never used again, and a drop is said where everybody reads it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from services.index import Row, train, write_shard
from services.indexer.listing import describe_store
from services.indexer.plan import Begun, Plan
from services.indexer.ports import EncoderModel
from services.indexer.removing import drop, prune, sweep, work_of
from services.indexer.work import Work
from services.store import AttributeField, Model, Pointer, Pointers, Store
from sightline.errors import FailedPrecondition, NotFound
from tests.unit.indexer_fakes import PREPARATION


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "store"))


def add(store: Store, count: int = 1) -> None:
    """Builds generations of one picture."""
    for _ in range(count):
        draft = store.begin("birds")
        row = Row("a", np.array([1, 0], np.float32), b"document")
        draft.seal(0, write_shard(draft.folder(0), [row], train("Flat", 2, np.empty((0, 2), np.float32))))
        draft.publish(Model("fake", "d1", 2), attributes=[AttributeField("n", "int", 1)])


def test_only_what_nothing_points_to_is_pruned(store: Store) -> None:
    """CURRENT, the one before, NEXT and the latest stay."""
    add(store, 6)
    store.commit_current("birds", None, Pointer(4, previous=2))
    store.set_next("birds", 5)
    assert prune(store, "birds") == [1, 3]
    assert store.generations("birds") == [2, 4, 5, 6]
    assert prune(store, "birds") == []


def test_as_many_generations_stay_as_are_to_be_kept(store: Store) -> None:
    """The oldest go first, with their reports, and none that is named, however few are to be kept."""
    add(store, 6)
    for number in range(1, 7):
        store.keep("birds", f"reports/{number:08d}.html", b"report")
    store.commit_current("birds", None, Pointer(6, previous=1))
    assert prune(store, "birds", keep=7) == []
    assert prune(store, "birds", keep=4) == [2, 3]
    assert sorted(file.stem for file in (Path(store.url) / "birds" / "reports").iterdir()) == [
        f"{number:08d}" for number in (1, 4, 5, 6)
    ]
    assert prune(store, "birds", keep=1) == [4, 5]


def test_what_failed_builds_left_is_swept(store: Store, tmp_path: Path) -> None:
    """Beside a work folder, what builds that began earlier have left goes, with the generations that they never ended;
    what began later, or is of another collection, stays."""
    add(store, 3)
    model = EncoderModel("fake", "d1", 2, PREPARATION)

    def begin(name: str, generation: int, collection: str = "birds") -> Work:
        work = Work(str(tmp_path / "works" / name))
        work.write_plan(Begun(Plan(collection), "", "folder", 1, None, {}, model, generation=generation))
        return work

    failed = store.begin("birds")
    failed.close()
    left = [begin("ended", 2), begin("failed", failed.generation)]
    stay = [begin("own", 5), begin("later", 6), begin("others", 1, "fish")]
    sweep(store, "birds", stay[0], 5)
    assert [work.begun() for work in left] == [None, None]
    assert all(work.begun() for work in stay)
    assert store.generations("birds") == [1, 2, 3]
    assert not (Path(store.url) / "birds" / "generations" / f"{failed.generation:08d}" / "manifest.json").exists()


def test_a_dropped_collection_is_none(store: Store) -> None:
    """After a drop nothing is listed, nothing is current, nothing of it is left, and there is nothing to drop."""
    add(store, 2)
    store.commit_current("birds", None, Pointer(2, previous=1))
    store.set_next("birds", 1)
    store.keep("birds", "reports/00000002.html", b"report")
    drop(store, "birds")
    assert store.pointers("birds") == Pointers(None, None, dropped=True)
    assert describe_store(store, None) == []
    assert not (Path(store.url) / "birds" / "reports").exists()
    with pytest.raises(NotFound):
        drop(store, "birds")


def test_what_was_only_begun_can_be_given_up(store: Store) -> None:
    """A collection that nothing was made of but the beginning of a build is dropped with --force, and not without."""
    work = work_of(store, "begun")
    model = EncoderModel("fake", "d1", 2, PREPARATION)
    work.write_plan(Begun(Plan("begun"), "", "folder", 1, None, {}, model, generation=1))
    with pytest.raises(FailedPrecondition, match="--force"):
        drop(store, "begun")
    drop(store, "begun", force=True)
    assert work.begun() is None
    for force in (False, True):
        with pytest.raises(NotFound):
            drop(store, "begun", force=force)


def test_numbers_go_on_after_a_drop(store: Store) -> None:
    """What is built under the name of a dropped collection is another generation, and can be published."""
    add(store, 3)
    store.commit_current("birds", None, Pointer(3))
    drop(store, "birds")
    add(store)
    assert store.generations("birds") == [4]
    store.commit_current("birds", None, Pointer(4))
    assert store.pointers("birds") == Pointers(Pointer(4), None)


def test_a_publish_that_is_under_way_fails(store: Store) -> None:
    """Who has read CURRENT before a drop cannot move it after that."""
    add(store, 2)
    store.commit_current("birds", None, Pointer(1))
    seen = store.pointers("birds").current
    drop(store, "birds")
    add(store)
    with pytest.raises(FailedPrecondition, match="another committer moved it"):
        store.commit_current("birds", seen, Pointer(3, previous=1))


def test_a_build_that_has_begun_is_in_the_way(store: Store) -> None:
    """A collection is not dropped under a build, unless that is said."""
    add(store)
    model = EncoderModel("fake", "d1", 2, PREPARATION)
    work_of(store, "birds").write_plan(Begun(Plan("birds"), "", "folder", 1, None, {}, model, generation=2))
    with pytest.raises(FailedPrecondition, match="has begun and not ended"):
        drop(store, "birds")
    assert store.generations("birds") == [1]
    drop(store, "birds", force=True)
    assert store.pointers("birds").dropped

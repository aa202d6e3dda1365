"""One build by several processes at once: each does its share of every stage, and waits for the others between them.

The first of them begins the build, trains, and seals; whatever is killed goes on where it was when it is started again.
They share nothing but the work folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from services.indexer.build import Built, World, begin, encode_share, fill_share, finish, give_up, read_share
from services.indexer.plan import Begun, Plan
from services.indexer.sources import Source
from services.indexer.stages.shares import Share
from services.indexer.stages.train import train_index
from services.indexer.work import Work
from sightline.errors import DeadlineExceeded, FailedPrecondition

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 5.0

T = TypeVar("T")


def build_together(
    plan: Plan, source: Source, world: World, share: Share, *, patience: float, keep: bool = False
) -> Built | None:
    """Does this process's share of a build; returns the generation to the first process, None to the others.

    Args:
        plan: what to build, the same for all of them.
        source: opened from the plan's.
        world: what to work with.
        share: which of how many processes this is.
        patience: seconds to wait, before each stage, for the others to end the one before.
        keep: whether to keep the work folder.

    Raises:
        DeadlineExceeded: the others took longer than that.
        Everything that `build` raises.
    """
    first = share.index == 0
    with world.work.alone(f"part-{share.index}"):
        begun = begin(plan, source, world) if first else await_begun(world.work, plan, patience)
        if begun.sealed:
            return finish(begun, world, keep=keep) if first else None
        read_share(begun, source, world, share)
        _after_the_others(lambda: encode_share(begun, world, share), begun, world, patience)
        if first:
            _after_the_others(lambda: _train(begun, world), begun, world, patience)
        _after_the_others(lambda: fill_share(begun, world, share), begun, world, patience)
        if not first:
            return None
        return _after_the_others(lambda: finish(begun, world, keep=keep), begun, world, patience)


def await_begun(work: Work, plan: Plan, patience: float) -> Begun:
    """Waits until this build has begun. Raises DeadlineExceeded."""

    def look() -> Begun | None:
        found = work.begun()
        return found if found is not None and found.plan == plan else None

    return _until(look, f"no such build has begun in {work.url}", patience)


def await_sealed(work: Work, patience: float) -> Begun:
    """Waits until the build of a work folder has come to its end. Raises DeadlineExceeded."""

    def look() -> Begun | None:
        found = work.begun()
        return found if found is not None and found.sealed else None

    return _until(look, f"no build has ended in {work.url}", patience)


def _train(begun: Begun, world: World) -> None:
    try:
        train_index(world.work, begun, world.progress)
    except FailedPrecondition as exc:
        if exc.reason == "NOTHING_INDEXED":
            give_up(begun, world)
        raise


def _after_the_others(stage: Callable[[], T], begun: Begun, world: World, patience: float) -> T:
    """Does a stage as soon as the one before it has ended everywhere."""
    last = ""

    def attempt() -> tuple[T] | None:
        nonlocal last
        try:
            return (stage(),)
        except FailedPrecondition as early:
            if early.reason != "STAGE_UNFINISHED":
                raise
            found = world.work.begun()
            if found is None or found.generation != begun.generation:
                raise FailedPrecondition(
                    "the process that began this build has given it up", reason="GIVEN_UP"
                ) from early
            last = early.message
            return None

    (done,) = _until(attempt, lambda: last, patience)
    return done


def _until(look: Callable[[], T | None], missing: str | Callable[[], str], patience: float) -> T:
    pause, until = FIRST_PAUSE, time.monotonic() + patience
    while (found := look()) is None:
        if time.monotonic() + pause > until:
            raise DeadlineExceeded(f"after {patience:g} s {missing if isinstance(missing, str) else missing()}")
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)
    return found

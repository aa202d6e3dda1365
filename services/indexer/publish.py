"""Who flips: the one committer. CURRENT moves when every group of searchers serves the generation, and never before.

Searchers hold CURRENT, NEXT and the generation before. A publish points NEXT to the generation, waits until enough
replicas of each group have loaded it, and moves CURRENT by conditional write; so of several committers one wins, and a
gateway that follows CURRENT finds the generation on every group.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from services.indexer.ports import Searchers, SearcherStatus
from services.store import Pointer, Store
from sightline.errors import DeadlineExceeded, FailedPrecondition, NotFound

POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a generation may become CURRENT: `ready`, or `hopeless` (some refuse it, so that waiting is no use)."""

    ready: bool
    hopeless: bool
    missing: tuple[str, ...]

    def __str__(self) -> str:
        return "; ".join(self.missing)


@dataclass(frozen=True, slots=True)
class Wait:
    """How long to wait for the searchers, and how many replicas of each group must serve: all that answer where 0."""

    min_replicas: int = 0
    timeout: float = 60.0


async def publish(
    store: Store,
    collection: str,
    searchers: Searchers | None,
    *,
    generation: int | None = None,
    wait: Wait = Wait(),
    tell: Callable[[str], None] = lambda _: None,
) -> Pointer:
    """Makes a generation CURRENT and returns what CURRENT is then.

    Args:
        searchers: who must serve it first; None moves CURRENT unchecked.
        generation: which; what NEXT points to where None.
        tell: told, whenever it changes, what is waited for.

    Raises:
        NotFound: there is no such generation.
        FailedPrecondition: there is nothing to publish, a group refuses it, or another committer was faster.
        DeadlineExceeded: not enough searchers served it in time.
    """
    pointers = await asyncio.to_thread(store.pointers, collection)
    target = generation if generation is not None else pointers.next
    if target is None:
        raise FailedPrecondition(f"NEXT of {collection} points to nothing: build a generation, or name one")
    current = pointers.current
    if current is not None and current.generation == target:
        # What a committer that was stopped half way left behind.
        await asyncio.to_thread(store.set_next, collection, None)
        return current
    if pointers.next != target:
        await asyncio.to_thread(store.set_next, collection, target)
    if searchers is not None:
        await await_served(searchers, collection, target, wait, tell)
    moved = Pointer(target, previous=current.generation if current else 0)
    await asyncio.to_thread(store.commit_current, collection, current, moved)
    await asyncio.to_thread(store.set_next, collection, None)
    return moved


async def rollback(
    store: Store,
    collection: str,
    searchers: Searchers | None,
    *,
    wait: Wait = Wait(),
    tell: Callable[[str], None] = lambda _: None,
) -> Pointer:
    """Makes the generation before CURRENT the CURRENT one again, where every group still serves it.

    Raises as `publish` does; NotFound where there is no generation before.
    """
    current = (await asyncio.to_thread(store.pointers, collection)).current
    if current is None or not current.previous:
        raise NotFound(f"{collection} has no generation before the current one")
    if searchers is not None:
        await await_served(searchers, collection, current.previous, wait, tell)
    moved = Pointer(current.previous, previous=current.generation)
    await asyncio.to_thread(store.commit_current, collection, current, moved)
    return moved


async def await_served(
    searchers: Searchers, collection: str, generation: int, wait: Wait, tell: Callable[[str], None]
) -> None:
    """Returns when enough replicas of every group serve the generation.

    Raises:
        FailedPrecondition: too many refuse it.
        DeadlineExceeded: they did not in time.
    """
    clock = asyncio.get_running_loop().time
    deadline, told = clock() + wait.timeout, ""
    while True:
        verdict = judge(await searchers.statuses(collection), generation, wait.min_replicas)
        if verdict.ready:
            return
        if verdict.hopeless:
            raise FailedPrecondition(f"generation {generation} is refused: {verdict}", reason="GENERATION_REFUSED")
        if str(verdict) != told:
            told = str(verdict)
            tell(f"waiting for generation {generation}: {told}")
        if clock() + POLL_SECONDS > deadline:
            message = f"after {wait.timeout:g} s generation {generation} is not served everywhere: {verdict}"
            raise DeadlineExceeded(message)
        await asyncio.sleep(POLL_SECONDS)


def judge(statuses: Sequence[SearcherStatus], generation: int, min_replicas: int) -> Verdict:
    """Decides from what the searchers say; with `min_replicas` 0, all replicas that answer must serve, at least one."""
    answering = [status for status in statuses if not status.error]
    silent = tuple(f"{status.address} does not answer ({status.error})" for status in statuses if status.error)
    if not answering:
        return Verdict(ready=False, hopeless=False, missing=silent or ("no searcher is known",))
    counts = sorted({status.groups for status in answering})
    if len(counts) > 1:
        return Verdict(False, False, (f"searchers disagree on the number of groups: {counts}",))
    groups = [_judge_group(group, answering, generation, min_replicas) for group in range(counts[0])]
    missing = tuple(line for verdict in groups for line in verdict.missing)
    ready = all(verdict.ready for verdict in groups)
    return Verdict(ready, any(verdict.hopeless for verdict in groups), missing if ready else missing + silent)


def _judge_group(group: int, answering: Sequence[SearcherStatus], generation: int, min_replicas: int) -> Verdict:
    replicas = [status for status in answering if status.group == group]
    serving = [status for status in replicas if generation in status.loaded]
    refusing = [status for status in replicas if generation in status.refused and generation not in status.loaded]
    needed = min_replicas or max(1, len(replicas))
    if len(serving) >= needed:
        return Verdict(ready=True, hopeless=False, missing=())
    lines = [f"group {group}: {len(serving)} of {needed} serve it"]
    lines += [f"{status.address} refuses it: {status.refused[generation]}" for status in refusing]
    lines += [f"{s.address} has not loaded it yet" for s in replicas if s not in serving and s not in refusing]
    # By default every replica that answers must serve. With a number given, more replicas may still come.
    hopeless = bool(refusing) and (not min_replicas or len(replicas) - len(refusing) < needed)
    return Verdict(ready=False, hopeless=hopeless, missing=tuple(lines))

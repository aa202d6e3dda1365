"""Natural batching: whatever queued while the last batch was away goes next, together.

Nothing waits on a timer. An idle system adds no latency, and a busy one batches by itself: the longer a batch takes,
the more arrive meanwhile. The same class stands before the model, before the searching thread, and before every
remote call that can carry more than one item.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from sightline.errors import DeadlineExceeded, ResourceExhausted, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")


class Observer(Protocol):
    """Watches a queue."""

    def watches(self, queued: Batcher[Any, Any]) -> None:
        """Told once, which queue it is; `queued` of it may be read at any time."""

    def left(self, items: int, weight: int, waited: float) -> None:
        """A batch left; `waited` is the seconds that its oldest item queued."""

    def expired(self) -> None:
        """An item was dropped, never to run: its deadline had passed."""

    def refused(self) -> None:
        """An item was refused: the queue was full."""


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    weight: int
    arrived: float
    deadline: float | None
    future: asyncio.Future[Result]
    running: bool = False


def _one(_: object) -> int:
    return 1


class Batcher(Generic[Item, Result]):
    """Runs items in batches, `lanes` of them at a time.

    `run` answers each item with a value or an exception of its own, in the order given. Where `run` itself raises, its
    items are run again one by one, once, so that one bad item cannot fail its companions.

    Args:
        run: takes the items of one batch.
        name: what errors call this queue.
        capacity: items that may queue; one more is refused at once.
        max_weight: the most that a batch may weigh. A heavier single item goes alone.
        max_queued: the most that all that queues may weigh; without it only `capacity` bounds the queue.
        lanes: batches that may be away at the same time.
        weigh: an item's weight; 1 each unless given.
        prepares: whether what runs here is only the way to another queue: an item whose deadline passes meanwhile never
            gets there, and so counts as expired too.
        observer: watches the queue.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Awaitable[Sequence[Result | Exception]]],
        *,
        name: str,
        capacity: int,
        max_weight: int,
        max_queued: int | None = None,
        lanes: int = 1,
        weigh: Callable[[Item], int] = _one,
        prepares: bool = False,
        observer: Observer | None = None,
    ) -> None:
        self._run, self._name, self._weigh, self._observer = run, name, weigh, observer
        self._capacity, self._max_weight, self._lanes = capacity, max_weight, lanes
        self._max_queued, self._prepares = max_queued, prepares
        self._queued_weight = 0
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._away: dict[asyncio.Task[None], list[_Waiting[Item, Result]]] = {}
        self._scheduled = False
        self._closing = False
        if observer:
            observer.watches(self)

    @property
    def queued(self) -> int:
        """Items that wait for a lane."""
        return len(self._queue)

    async def submit(self, item: Item, deadline: float | None = None) -> Result:
        """Returns the item's result.

        Args:
            item: what to run.
            deadline: in `loop.time()` seconds. An item whose deadline has passed is never run.

        Raises:
            ResourceExhausted: the queue is full.
            DeadlineExceeded: the deadline passed first.
            Unavailable: the batcher is closing.
        """
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._closing:
            raise Unavailable(f"the {self._name} is shutting down", reason="SHUTTING_DOWN")
        if deadline is not None and deadline <= now:
            self._count_expired()
            raise DeadlineExceeded(f"the deadline passed before the {self._name} was reached")
        weight = self._weigh(item)
        if not self._has_room(weight):
            self._purge()
            if not self._has_room(weight):
                if self._observer:
                    self._observer.refused()
                raise ResourceExhausted(f"the {self._name}'s queue is full ({len(self._queue)} items wait)")
        waiting: _Waiting[Item, Result] = _Waiting(item, weight, now, deadline, loop.create_future())
        self._queue.append(waiting)
        self._queued_weight += weight
        self._schedule(loop)
        timer = loop.call_at(deadline, self._expire, waiting) if deadline is not None else None
        try:
            return await waiting.future
        finally:
            if timer is not None:
                timer.cancel()

    def fail_all(self, error: Exception) -> None:
        """Fails everything that queues or is away, at once; the batcher stays usable."""
        for waiting in [*self._queue, *(one for batch in self._away.values() for one in batch)]:
            _fail(waiting, error)
        self._queue.clear()
        self._queued_weight = 0
        for task in self._away:
            task.cancel()

    async def close(self) -> None:
        """Takes nothing more, and returns when all that was taken is answered."""
        self._closing = True
        while self._queue or self._away:
            await (asyncio.wait([*self._away]) if self._away else asyncio.sleep(0))

    def _expire(self, waiting: _Waiting[Item, Result]) -> None:
        if not waiting.future.done():
            # One that runs already comes too late for its caller, but it is computed.
            if self._prepares or not waiting.running:
                self._count_expired()
            _fail(waiting, DeadlineExceeded(f"the deadline passed in the {self._name}"))

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        # Deferring to the end of this turn of the loop lets all that arrived in the same turn leave together.
        if not self._scheduled and len(self._away) < self._lanes:
            self._scheduled = True
            loop.call_soon(self._dispatch, loop)

    def _dispatch(self, loop: asyncio.AbstractEventLoop) -> None:
        self._scheduled = False
        while self._queue and len(self._away) < self._lanes:
            batch = self._take(loop.time())
            if not batch:
                return
            task = loop.create_task(self._answer(batch))
            self._away[task] = batch
            task.add_done_callback(self._returned)

    def _take(self, now: float) -> list[_Waiting[Item, Result]]:
        batch: list[_Waiting[Item, Result]] = []
        weight = 0
        while self._queue:
            head = self._queue[0]
            if head.future.done() or (head.deadline is not None and head.deadline <= now):
                self._expire(self._pop())
                continue
            if batch and weight + head.weight > self._max_weight:
                break
            batch.append(self._pop())
            head.running = True
            weight += head.weight
        if batch and self._observer:
            self._observer.left(len(batch), weight, now - batch[0].arrived)
        return batch

    def _pop(self) -> _Waiting[Item, Result]:
        head = self._queue.popleft()
        self._queued_weight -= head.weight
        return head

    def _has_room(self, weight: int) -> bool:
        heavy = self._max_queued is not None and self._queue and self._queued_weight + weight > self._max_queued
        return len(self._queue) < self._capacity and not heavy

    def _purge(self) -> None:
        """Forgets those in the queue whose callers have left."""
        self._queue = deque(one for one in self._queue if not one.future.done())
        self._queued_weight = sum(one.weight for one in self._queue)

    def _count_expired(self) -> None:
        if self._observer:
            self._observer.expired()

    def _returned(self, task: asyncio.Task[None]) -> None:
        del self._away[task]
        if self._queue:
            self._schedule(task.get_loop())

    async def _answer(self, batch: list[_Waiting[Item, Result]]) -> None:
        try:
            _settle(batch, await self._call(batch))
        except asyncio.CancelledError:
            for waiting in batch:
                _fail(waiting, Unavailable(f"the {self._name} gave the batch up"))
            raise
        except Exception as error:
            if len(batch) == 1:
                _fail(batch[0], error)
                return
            for waiting in batch:
                await self._again(waiting)

    async def _again(self, waiting: _Waiting[Item, Result]) -> None:
        if waiting.future.done():
            return
        try:
            _settle([waiting], await self._call([waiting]))
        except Exception as error:
            _fail(waiting, error)

    async def _call(self, batch: list[_Waiting[Item, Result]]) -> Sequence[Result | Exception]:
        results = await self._run([one.item for one in batch])
        if len(results) != len(batch):
            raise RuntimeError(f"the {self._name} returned {len(results)} results for {len(batch)} items")
        return results


def _settle(batch: Sequence[_Waiting[Item, Result]], results: Sequence[Result | Exception]) -> None:
    for waiting, result in zip(batch, results, strict=True):
        if isinstance(result, Exception):
            _fail(waiting, result)
        elif not waiting.future.done():
            waiting.future.set_result(result)


def _fail(waiting: _Waiting[Item, Result], error: Exception) -> None:
    if not waiting.future.done():
        waiting.future.set_exception(error)

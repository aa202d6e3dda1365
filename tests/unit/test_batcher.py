"""services/runtime/batcher.py."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from services.runtime.batcher import Batcher
from sightline.errors import DeadlineExceeded, InvalidArgument, ResourceExhausted, Unavailable


class Runner:
    """Doubles numbers, remembers its batches, and waits at a gate."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> Sequence[int | Exception]:
        self.batches.append(list(items))
        await self.gate.wait()
        if 13 in items and len(items) > 1:
            raise RuntimeError("13 spoils the batch")
        return [InvalidArgument("negative") if item < 0 else item * 2 for item in items]


def batcher(run: Runner, *, capacity: int = 100, max_weight: int = 100, lanes: int = 1) -> Batcher[int, int]:
    return Batcher(run, name="doubler", capacity=capacity, max_weight=max_weight, lanes=lanes)


async def busy(run: Runner, batch: Batcher[int, int]) -> asyncio.Task[int]:
    """Closes the gate and sends one item, so that what follows queues."""
    run.gate.clear()
    task = asyncio.create_task(batch.submit(0))
    while not run.batches:
        await asyncio.sleep(0)
    return task


async def test_what_queues_while_a_batch_is_away_goes_together() -> None:
    """What queues while a batch is away leaves together when it returns."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    rest = [asyncio.create_task(batch.submit(item)) for item in (1, 2, 3)]
    await asyncio.sleep(0.01)
    assert run.batches == [[0]]
    run.gate.set()
    assert [await first, *[await one for one in rest]] == [0, 2, 4, 6]
    assert run.batches == [[0], [1, 2, 3]]


async def test_an_idle_batcher_waits_for_nobody() -> None:
    """An idle batcher runs a lone item at once."""
    run = Runner()
    assert await batcher(run).submit(4) == 8
    assert run.batches == [[4]]


async def test_a_batch_is_no_heavier_than_allowed() -> None:
    """A batch weighs at most max_weight, and a heavier single item goes alone."""
    run = Runner()
    batch: Batcher[int, int] = Batcher(run, name="doubler", capacity=9, max_weight=10, weigh=lambda item: item)
    first = await busy(run, batch)
    rest = [asyncio.create_task(batch.submit(item)) for item in (6, 4, 1, 50, 2)]
    await asyncio.sleep(0)
    run.gate.set()
    await asyncio.gather(first, *rest)
    assert run.batches == [[0], [6, 4], [1], [50], [2]]


async def test_lanes_bound_the_batches_in_flight() -> None:
    """As many batches are away at a time as there are lanes."""
    run = Runner()
    batch = batcher(run, max_weight=1, lanes=2)
    run.gate.clear()
    tasks = [asyncio.create_task(batch.submit(item)) for item in range(5)]
    await asyncio.sleep(0.01)
    assert len(run.batches) == 2
    run.gate.set()
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]


async def test_a_full_queue_refuses_at_once() -> None:
    """An item that finds the queue full is refused at once, and nobody else suffers."""
    run = Runner()
    batch = batcher(run, capacity=2)
    first = await busy(run, batch)
    rest = [asyncio.create_task(batch.submit(item)) for item in (1, 2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="2 items"):
        await batch.submit(3)
    run.gate.set()
    assert await asyncio.gather(first, *rest) == [0, 2, 4]


async def test_an_item_whose_deadline_passed_is_never_run() -> None:
    """An item whose deadline passes in the queue fails then and is never run."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    with pytest.raises(DeadlineExceeded):
        await batch.submit(1, asyncio.get_running_loop().time() + 0.01)
    run.gate.set()
    await first
    assert await batch.submit(2) == 4
    assert run.batches == [[0], [2]]


class Watcher:
    """Counts what expires."""

    def __init__(self) -> None:
        self.count = 0

    def watches(self, queued: object) -> None:
        """Which queue it is does not matter here."""

    def left(self, items: int, weight: int, waited: float) -> None:
        """Batches are of no interest here."""

    def refused(self) -> None:
        """Nor is what is refused."""

    def expired(self) -> None:
        self.count += 1


async def test_what_expires_is_counted_where_it_was_never_run() -> None:
    """An item that expires in the queue is counted; one that expires while it runs is late, but was computed."""
    run, watcher = Runner(), Watcher()
    batch: Batcher[int, int] = Batcher(run, name="doubler", capacity=9, max_weight=9, observer=watcher)
    run.gate.clear()
    soon = asyncio.get_running_loop().time() + 0.02
    running = asyncio.create_task(batch.submit(1, soon))
    await asyncio.sleep(0.005)
    queued = asyncio.create_task(batch.submit(2, soon))
    for late in (running, queued):
        with pytest.raises(DeadlineExceeded):
            await late
    assert watcher.count == 1
    run.gate.set()
    await batch.close()
    assert run.batches == [[1]]


async def test_what_expires_while_it_is_prepared_is_counted() -> None:
    """An item that expires on the way to the queue it is prepared for never gets there, and is counted as expired."""
    run, watcher = Runner(), Watcher()
    batch: Batcher[int, int] = Batcher(run, name="doubler", capacity=9, max_weight=9, prepares=True, observer=watcher)
    run.gate.clear()
    with pytest.raises(DeadlineExceeded):
        await batch.submit(1, asyncio.get_running_loop().time() + 0.02)
    assert (run.batches, watcher.count) == ([[1]], 1)
    run.gate.set()
    await batch.close()
    assert watcher.count == 1


async def test_a_caller_who_left_is_not_run() -> None:
    """An item whose caller was cancelled in the queue is never run, and makes room in it."""
    run = Runner()
    batch = batcher(run, capacity=1)
    first = await busy(run, batch)
    gone = asyncio.create_task(batch.submit(1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    stays = asyncio.create_task(batch.submit(2))
    await asyncio.sleep(0)
    run.gate.set()
    assert [await first, await stays] == [0, 4]
    assert run.batches == [[0], [2]]


async def test_an_item_fails_alone() -> None:
    """An item that is answered with an error fails alone."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    rest = [asyncio.create_task(batch.submit(item)) for item in (1, -1)]
    await asyncio.sleep(0)
    run.gate.set()
    await first
    assert await rest[0] == 2
    with pytest.raises(InvalidArgument):
        await rest[1]


async def test_a_batch_that_raises_is_run_again_singly() -> None:
    """Where a whole batch raises, each of its items is run again by itself, once."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    rest = [asyncio.create_task(batch.submit(item)) for item in (1, 13, 2)]
    await asyncio.sleep(0)
    run.gate.set()
    assert await asyncio.gather(first, *rest) == [0, 2, 26, 4]
    assert run.batches == [[0], [1, 13, 2], [1], [13], [2]]


async def test_failing_all_leaves_nobody_waiting() -> None:
    """fail_all answers what queues and what is away, and the batcher works on."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    second = asyncio.create_task(batch.submit(1))
    await asyncio.sleep(0)
    batch.fail_all(Unavailable("gone"))
    for task in (first, second):
        with pytest.raises(Unavailable):
            await task
    run.gate.set()
    assert await batch.submit(3) == 6


async def test_closing_answers_what_was_taken() -> None:
    """A closing batcher answers what it took and refuses what comes."""
    run = Runner()
    batch = batcher(run)
    first = await busy(run, batch)
    second = asyncio.create_task(batch.submit(1))
    await asyncio.sleep(0)
    closing = asyncio.create_task(batch.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await batch.submit(2)
    run.gate.set()
    await closing
    assert [await first, await second] == [0, 2]


async def test_what_queues_is_bounded_by_weight_too() -> None:
    """A queue that may hold so much weight refuses what would exceed it, but never a single item."""
    run = Runner()
    batch: Batcher[int, int] = Batcher(
        run, name="doubler", capacity=9, max_weight=1, max_queued=10, weigh=lambda item: item
    )
    first = await busy(run, batch)
    heavy = asyncio.create_task(batch.submit(50))
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted):
        await batch.submit(1)
    run.gate.set()
    assert [await first, await heavy] == [0, 100]
    assert await batch.submit(7) == 14

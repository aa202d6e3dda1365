"""Queries in a queue, and one thread behind it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from prometheus_client import REGISTRY

from services.index import Hits
from services.searcher.searching import Answer, Query, Searching
from services.store import Manifest
from sightline.errors import DeadlineExceeded, ResourceExhausted
from sightline.filters import Filter
from tests.corpus import MODEL, Vectors

MANIFEST = Manifest("c", 1, MODEL, 0, ())


@dataclass
class Slow:
    """A generation that answers when it is let, and notes what it was asked together and by which thread."""

    batches: list[list[int]] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    go: threading.Event = field(default_factory=threading.Event)
    poison: int = -1
    manifest: Manifest = MANIFEST
    shards: tuple[int, ...] = (0,)
    images: int = 1

    def search(
        self, vectors: Vectors, ks: Sequence[int], conditions: Sequence[Filter | None] | None = None
    ) -> list[Hits]:
        self.batches.append(list(ks))
        self.threads.add(threading.current_thread().name)
        assert self.go.wait(20)
        if self.poison in ks:
            raise ValueError("poisoned")
        return [
            Hits(vector[:1], np.zeros(1, np.uint64), [str(k).encode()], 1)
            for vector, k in zip(vectors, ks, strict=True)
        ]

    def documents(self, rows: Sequence[int]) -> list[bytes]:
        return [b"document"] * len(rows)

    def find(self, ids: Sequence[str]) -> list[int | None]:
        raise NotImplementedError

    def has(self, row: int) -> bool:
        raise NotImplementedError

    def thumbnails(self, rows: Sequence[int]) -> list[bytes]:
        raise NotImplementedError

    def vectors(self, rows: Sequence[int]) -> list[Vectors]:
        raise NotImplementedError


@pytest.fixture
async def searching() -> AsyncIterator[Searching]:
    """A queue for 8, in batches of at most 4."""
    made = Searching(max_batch=4, capacity=8)
    yield made
    await made.close()


def computed() -> float:
    """Returns how many queries were computed so far."""
    return REGISTRY.get_sample_value("sightline_searcher_queries_total") or 0.0


def ask(searching: Searching, generation: Slow, k: int, deadline: float | None = None) -> asyncio.Task[Answer]:
    """Asks for `k`, which tells the queries of these tests apart."""
    vector = np.full(4, k, np.float32)
    return asyncio.create_task(searching.search(Query(generation, vector, k), deadline))


async def until_asked(generation: Slow) -> None:
    """Waits until a batch has reached the thread."""
    for _ in range(2000):
        if generation.batches:
            return
        await asyncio.sleep(0.005)
    raise AssertionError("no batch arrived")


async def test_what_queued_meanwhile_goes_together(searching: Searching) -> None:
    """While one batch is away all others wait, and then leave together, up to the most, all on one thread."""
    slow = Slow()
    tasks = [ask(searching, slow, 1)]
    await until_asked(slow)
    tasks += [ask(searching, slow, k) for k in range(2, 8)]
    await asyncio.sleep(0.02)
    slow.go.set()
    answers = await asyncio.gather(*tasks)
    assert slow.batches == [[1], [2, 3, 4, 5], [6, 7]]
    assert [answer.hits.ids for answer in answers] == [[str(k).encode()] for k in range(1, 8)]
    assert len(slow.threads) == 1


async def test_each_generation_is_searched_once_in_a_batch(searching: Searching) -> None:
    """Queries of two generations in one batch make two searches, and each gets its own answer."""
    first, second = Slow(), Slow()
    first.go.set()
    second.go.set()
    tasks = [ask(searching, one, k) for k, one in enumerate((first, second, first, second), 1)]
    answers = await asyncio.gather(*tasks)
    assert (first.batches, second.batches) == ([[1, 3]], [[2, 4]])
    assert [answer.hits.ids for answer in answers] == [[b"1"], [b"2"], [b"3"], [b"4"]]


async def test_an_expired_query_is_never_computed(searching: Searching) -> None:
    """A query whose deadline passes in the queue fails at once, and the thread never sees it."""
    slow, before = Slow(), computed()
    first = ask(searching, slow, 1)
    await until_asked(slow)
    late = ask(searching, slow, 2, asyncio.get_running_loop().time() + 0.01)
    with pytest.raises(DeadlineExceeded):
        await late
    slow.go.set()
    await first
    assert slow.batches == [[1]]
    assert computed() - before == 1


async def test_a_full_queue_refuses_at_once(searching: Searching) -> None:
    """One query more than may wait is refused without waiting."""
    slow = Slow()
    tasks = [ask(searching, slow, 1)]
    await until_asked(slow)
    tasks += [ask(searching, slow, k) for k in range(2, 10)]
    await asyncio.sleep(0.02)
    with pytest.raises(ResourceExhausted, match="8 items wait"):
        await asyncio.wait_for(ask(searching, slow, 10), 1)
    slow.go.set()
    await asyncio.gather(*tasks)


async def test_a_query_that_breaks_the_search_fails_alone(searching: Searching) -> None:
    """Where a batch fails, its queries are tried singly: only the one at fault has no answer."""
    slow = Slow(poison=2)
    slow.go.set()
    outcomes = await asyncio.gather(*(ask(searching, slow, k) for k in (1, 2, 3)), return_exceptions=True)
    assert [isinstance(outcome, ValueError) for outcome in outcomes] == [False, True, False]


async def test_closing_answers_what_waits() -> None:
    """What was accepted is answered before the thread ends."""
    searching, slow = Searching(max_batch=4, capacity=8), Slow()
    slow.go.set()
    tasks = [ask(searching, slow, k) for k in range(1, 7)]
    await asyncio.sleep(0)
    await searching.close()
    assert len(await asyncio.gather(*tasks)) == 6

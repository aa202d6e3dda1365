"""The stages: in order, bounded, and tidy when one fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from services.indexer.pipeline import in_order, off_loop


async def _count(n: int) -> AsyncIterator[int]:
    for i in range(n):
        yield i


async def test_results_keep_the_order_of_their_items() -> None:
    """A quick item does not overtake a slow one."""

    async def work(i: int) -> int:
        await asyncio.sleep(0.01 if i % 2 == 0 else 0)
        return i

    assert [i async for i in in_order(_count(9), work, 4)] == list(range(9))


async def test_no_more_are_under_way_than_allowed() -> None:
    """However long the source, only so many items are held at a time."""
    running = most = 0

    async def work(i: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return i

    assert len([i async for i in in_order(_count(50), work, 3)]) == 50
    assert most == 3


async def test_a_failure_ends_what_is_under_way() -> None:
    """Where one item fails its error is raised, and nothing goes on behind the caller's back."""
    cancelled: list[int] = []

    async def work(i: int) -> int:
        if i == 0:
            raise ValueError("broken")
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.append(i)
            raise
        return i

    stage = in_order(_count(9), work, 3)
    with pytest.raises(ValueError, match="broken"):
        await anext(stage)
    assert cancelled == [1, 2]


async def test_a_blocking_iterator_is_read_on_a_thread() -> None:
    """All items of an iterator arrive, and its error too."""

    assert [i async for i in off_loop(iter(range(150)), chunk=64)] == list(range(150))

    def failing() -> Iterator[int]:
        yield 1
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        assert [i async for i in off_loop(failing(), chunk=1)]

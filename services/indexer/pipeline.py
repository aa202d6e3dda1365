"""Stages that run beside each other, hold little, and keep order, so that the same source gives the same build."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


async def off_loop(items: Iterator[T], chunk: int = 64) -> AsyncIterator[T]:
    """Yields from an iterator that blocks, advancing it on a thread."""
    while taken := await asyncio.to_thread(lambda: list(islice(items, chunk))):
        for item in taken:
            yield item


async def in_order(items: AsyncIterator[T], work: Callable[[T], Awaitable[R]], at_once: int) -> AsyncGenerator[R]:
    """Yields `work(item)` of each item in the order of the items, with up to `at_once` of them under way or waiting.

    Where one fails its error is raised, and what is still under way is cancelled.
    """

    async def run(item: T) -> R:
        return await work(item)

    running: deque[asyncio.Task[R]] = deque()
    try:
        async for item in items:
            running.append(asyncio.create_task(run(item)))
            if len(running) >= at_once:
                yield await running.popleft()
        while running:
            yield await running.popleft()
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

"""Identical work in flight is done once.

The work belongs to nobody: it goes on while anyone waits for it and ends when the last one has left, so a first caller
who hangs up, or who has little time, never fails those who joined.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from typing import Generic, TypeVar

from sightline.errors import DeadlineExceeded

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class _Flight(Generic[T]):
    def __init__(self, work: Callable[[float], Awaitable[T]], deadline: float) -> None:
        self.deadline = deadline
        self.waiting = 0
        self.task = asyncio.create_task(self._run(work))

    async def _run(self, work: Callable[[float], Awaitable[T]]) -> T:
        while True:
            given = self.deadline
            try:
                return await work(given)
            except DeadlineExceeded:
                # Someone with more time joined after this attempt set out.
                if self.deadline <= max(given, asyncio.get_running_loop().time()):
                    raise


class SingleFlight(Generic[Key, T]):
    """Runs work by key, once at a time."""

    def __init__(self) -> None:
        self._flights: dict[Key, _Flight[T]] = {}

    async def run(self, key: Key, work: Callable[[float], Awaitable[T]], deadline: float) -> tuple[T, bool]:
        """Returns the result, and whether the work was under way already.

        Args:
            key: what makes work identical.
            work: takes the deadline of the most patient caller, in `loop.time()` seconds.
            deadline: this caller's.

        Raises:
            DeadlineExceeded: this caller's deadline passed. The work goes on for the others.
        """
        flight = self._flights.get(key)
        joined = flight is not None and not flight.task.done()
        if flight is None or not joined:
            flight = self._flights[key] = _Flight(work, deadline)
            flight.task.add_done_callback(partial(self._landed, key, flight))
        flight.deadline = max(flight.deadline, deadline)
        return await self._wait(key, flight, deadline), joined

    async def _wait(self, key: Key, flight: _Flight[T], deadline: float) -> T:
        flight.waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                return await asyncio.shield(flight.task)
        except TimeoutError as error:
            raise DeadlineExceeded("the deadline passed before the answer was there") from error
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                flight.task.cancel()
                # At once: whoever comes before the cancellation has taken effect must not join it.
                self._forget(key, flight)

    def _forget(self, key: Key, flight: _Flight[T]) -> None:
        if self._flights.get(key) is flight:
            del self._flights[key]

    def _landed(self, key: Key, flight: _Flight[T], _: asyncio.Task[T]) -> None:
        self._forget(key, flight)
        if not flight.task.cancelled():
            flight.task.exception()  # seen by those who waited; nobody may have

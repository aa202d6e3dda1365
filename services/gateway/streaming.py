"""Questions on a stream: answered as they are done, a bounded number at a time, each to its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Answered = TypeVar("Answered")


class Stream(Generic[Asked, Answered]):
    """One stream.

    It ends when the caller has asked all, when it has grown old (so that callers spread over new replicas), or when the
    process drains. What was read is answered first; the caller opens another stream for the rest.

    Args:
        answer: answers one question, with whatever became of it; never raises.
        window: questions that were read and whose answers have not been sent. When there are as many nothing more is
            read, which the caller feels as back pressure.
        age: seconds after which the stream ends.
        ending: set when the process drains.
    """

    def __init__(
        self, answer: Callable[[Asked], Awaitable[Answered]], *, window: int, age: float, ending: asyncio.Event
    ) -> None:
        self._answer, self._age, self._ending = answer, age, ending
        self._window = asyncio.Semaphore(window)
        self._done: asyncio.Queue[Answered | None] = asyncio.Queue()
        self._working: set[asyncio.Task[None]] = set()

    async def run(self, asked: AsyncIterator[Asked]) -> AsyncIterator[Answered]:
        """Yields the answers, in the order in which they are done. Raises what `asked` raised, after them."""
        reading = asyncio.create_task(self._read_all(asked))
        try:
            while (answered := await self._done.get()) is not None:
                yield answered
                # Only now: a caller who does not read his answers must not have more of them made.
                self._window.release()
            reading.result()
        finally:
            reading.cancel()
            for task in self._working:
                task.cancel()

    async def _read_all(self, asked: AsyncIterator[Asked]) -> None:
        reading = asyncio.create_task(self._read(asked))
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({reading, ending}, timeout=self._age, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            ending.cancel()
        while self._working:
            await asyncio.wait(self._working)
        self._done.put_nowait(None)
        if reading.done() and not reading.cancelled():
            reading.result()

    async def _read(self, asked: AsyncIterator[Asked]) -> None:
        while True:
            # A place first, then the question: one that was read is answered, even where the stream ends meanwhile.
            await self._window.acquire()
            try:
                one = await anext(asked)
            except StopAsyncIteration:
                return
            task = asyncio.create_task(self._work(one))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work(self, one: Asked) -> None:
        self._done.put_nowait(await self._answer(one))

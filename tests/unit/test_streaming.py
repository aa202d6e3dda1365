"""services/gateway/streaming.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import pytest

from services.gateway.streaming import Stream

LONG = 60.0


class Caller:
    """Asks numbers, and remembers how many were read."""

    def __init__(self, numbers: Sequence[int], *, hangs_up: bool = True) -> None:
        self.read = 0
        self._numbers, self._hangs_up = numbers, hangs_up

    async def __aiter__(self) -> AsyncIterator[int]:
        for number in self._numbers:
            self.read += 1
            yield number
        if not self._hangs_up:
            await asyncio.Event().wait()


class Gates:
    """Answers a number with its double when its gate is opened."""

    def __init__(self) -> None:
        self.open: dict[int, asyncio.Event] = {}
        self.left: list[int] = []

    async def __call__(self, number: int) -> int:
        gate = self.open.setdefault(number, asyncio.Event())
        try:
            await gate.wait()
        except asyncio.CancelledError:
            self.left.append(number)
            raise
        return 2 * number


async def doubled(number: int) -> int:
    return 2 * number


def stream(
    answer: Callable[[int], Awaitable[int]],
    *,
    window: int = 64,
    age: float = LONG,
    ending: asyncio.Event | None = None,
) -> Stream[int, int]:
    return Stream(answer, window=window, age=age, ending=ending or asyncio.Event())


async def settled() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_every_question_is_answered() -> None:
    """A stream whose caller has asked all ends when all is answered."""
    answers = [answer async for answer in stream(doubled, window=3).run(aiter(Caller(range(50))))]
    assert sorted(answers) == [2 * number for number in range(50)]


async def test_answers_come_as_they_are_done() -> None:
    """A slow question holds up nobody who asked after it."""
    gates = Gates()
    answers = stream(gates).run(aiter(Caller([1, 2])))
    first = asyncio.ensure_future(anext(answers))
    await settled()
    gates.open[2].set()
    assert await first == 4
    gates.open[1].set()
    assert [answer async for answer in answers] == [2]


async def test_no_more_is_read_than_is_worked_on() -> None:
    """When all places are taken nothing is read, until an answer has been sent."""
    gates, caller = Gates(), Caller(range(10))
    answers = stream(gates, window=3).run(aiter(caller))
    first = asyncio.ensure_future(anext(answers))
    await settled()
    assert caller.read == 3
    gates.open[0].set()
    await first
    second = asyncio.ensure_future(anext(answers))
    await settled()
    assert caller.read == 4
    second.cancel()
    await settled()
    await answers.aclose()  # type: ignore[attr-defined]


async def test_a_caller_who_does_not_read_has_no_more_made_than_the_window() -> None:
    """For a caller who takes no answers nothing is read beyond the window, however fast the answers are."""
    caller = Caller(range(10_000))
    answers = stream(doubled, window=4).run(aiter(caller))
    await anext(answers)
    await asyncio.sleep(0.02)
    assert caller.read == 4
    await answers.aclose()  # type: ignore[attr-defined]


@pytest.mark.parametrize("why", ["age", "drain"])
async def test_what_was_read_is_answered_before_the_end(why: str) -> None:
    """A stream that has grown old, or whose process drains, reads no more, answers what it read, and ends."""
    gates, ending = Gates(), asyncio.Event()
    caller = Caller([1, 2], hangs_up=False)
    answers = stream(gates, age=0.05 if why == "age" else LONG, ending=ending).run(aiter(caller))
    rest = asyncio.create_task(collected(answers))
    await settled()
    if why == "drain":
        ending.set()
    await asyncio.sleep(0.1)
    assert not rest.done()
    for number in (1, 2):
        gates.open[number].set()
    async with asyncio.timeout(5):
        assert sorted(await rest) == [2, 4]


async def test_a_caller_who_leaves_ends_the_work() -> None:
    """Nothing is worked on for a caller who has gone."""
    gates = Gates()
    answers = stream(gates).run(aiter(Caller([1, 2, 3])))
    first = asyncio.ensure_future(anext(answers))
    await settled()
    gates.open[1].set()
    await first
    await answers.aclose()  # type: ignore[attr-defined]
    await settled()
    assert sorted(gates.left) == [2, 3]


async def test_what_breaks_the_reading_is_told_after_the_answers() -> None:
    """Questions that were read before one that cannot be read are answered; then the stream fails."""

    async def breaking() -> AsyncIterator[int]:
        yield 1
        raise ValueError("not a message")

    answers = stream(doubled).run(breaking())
    assert await anext(answers) == 2
    with pytest.raises(ValueError, match="not a message"):
        await anext(answers)


async def collected(answers: AsyncIterator[int]) -> list[int]:
    return [answer async for answer in answers]

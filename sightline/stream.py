"""Many questions over one connection, none of them lost when the server ends it."""

from __future__ import annotations

import asyncio
import itertools
import random
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self, Unpack

import grpc

from sightline._channel import error_of
from sightline._translate import from_search_item, to_request
from sightline.errors import DeadlineExceeded, InternalError, SightlineError, Unavailable
from sightline.queries import QueryLike, SearchOptions, SearchRequest
from sightline.results import SearchResult
from sightline.v1 import search_pb2

_FIRST_PAUSE, _LONGEST_PAUSE = 0.02, 1.0  # seconds between attempts to open a stream that fails at once
_HEARING = 0.1  # seconds to hear why a stream fails before writing to it: a write that meets its end hides the reason
_PATIENCE = 3  # streams in a row that break without an answer before an internal error is believed


class SearchStream(ABC):
    """Answers questions as they come; any number of tasks may ask at once. Made by `Client.stream`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def search(
        self, query: QueryLike, *, timeout: float | None = None, **options: Unpack[SearchOptions]
    ) -> SearchResult:
        """Finds the images nearest to a query; the options are those of `Client.search`."""
        return await self.answer(SearchRequest(query, **options), timeout=timeout)

    @abstractmethod
    async def answer(self, request: SearchRequest, *, timeout: float | None = None) -> SearchResult:
        """Answers one question within `timeout` seconds, or those of the stream where it is None."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the stream. Whoever still waits gets Unavailable."""


@dataclass(eq=False)
class _Question:
    message: search_pb2.SearchRequest
    deadline: float  # loop time
    outcome: asyncio.Future[SearchResult]


class ReopeningStream(SearchStream):
    """A stream that opens when it is first needed, and again whenever the server ends it or goes away.

    What was unanswered then is sent again, with the time that it has left: searching twice does no harm.
    """

    def __init__(self, open_call: Callable[[], Any], *, address: str, window: int, timeout: float) -> None:
        self._open_call = open_call
        self._address = address
        self._timeout = timeout
        self._room = asyncio.Semaphore(window)
        self._names = itertools.count(1)
        self._unanswered: dict[str, _Question] = {}
        self._unsent: asyncio.Queue[str] = asyncio.Queue()
        self._asked = asyncio.Event()
        self._failure: SightlineError | None = None
        self._running: asyncio.Task[None] | None = None
        self._closed = False

    async def answer(self, request: SearchRequest, *, timeout: float | None = None) -> SearchResult:
        """Answers one question within `timeout` seconds, or those of the stream where it is None."""
        message = to_request(request)
        seconds = self._timeout if timeout is None else timeout
        deadline = asyncio.get_running_loop().time() + seconds
        try:
            async with asyncio.timeout_at(deadline), self._room:
                return await self._ask(message, deadline)
        except TimeoutError:
            why = f"; the stream's last failure: {self._failure}" if self._failure else ""
            raise DeadlineExceeded(f"{self._address} gave no answer within {seconds:g} s{why}") from self._failure

    async def close(self) -> None:
        """Ends the stream. Whoever still waits gets Unavailable."""
        self._closed = True
        if self._running:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)

    async def _ask(self, message: search_pb2.SearchRequest, deadline: float) -> SearchResult:
        if self._closed:
            raise Unavailable("the stream is closed", reason="STREAM_CLOSED")
        self._running = self._running or asyncio.create_task(self._run())
        name = str(next(self._names))
        question = _Question(message, deadline, asyncio.get_running_loop().create_future())
        self._unanswered[name] = question
        self._unsent.put_nowait(name)
        self._asked.set()
        try:
            return await question.outcome
        finally:
            self._unanswered.pop(name, None)

    async def _run(self) -> None:
        fruitless = 0
        try:
            while True:
                if not self._unanswered:
                    self._asked.clear()
                    await self._asked.wait()
                answered = await self._converse(fruitless)
                fruitless = 0 if answered else fruitless + 1
                if fruitless:
                    pause = min(_FIRST_PAUSE * 2**fruitless, _LONGEST_PAUSE)
                    await asyncio.sleep(pause * random.uniform(0.5, 1))
        finally:  # closed, or its client was: leave nobody waiting
            self._closed = True
            self._fail_all(Unavailable("the stream was closed", reason="STREAM_CLOSED"))

    async def _converse(self, fruitless: int) -> int:
        """Holds one stream from its opening to its end; returns how many answers it brought."""
        self._unsent = asyncio.Queue()
        for name in self._unanswered:
            self._unsent.put_nowait(name)
        answered = 0
        call = self._open_call()
        writing = asyncio.create_task(self._write(call, self._unsent, _HEARING if fruitless else 0))
        try:
            while (reply := await call.read()) is not grpc.aio.EOF:
                self._settle(reply)
                self._failure = None
                answered += 1
        except grpc.aio.AioRpcError as error:
            self._failure = error_of(error, self._address)
            if _is_final(self._failure, 0 if answered else fruitless):
                self._fail_all(self._failure)
        finally:
            writing.cancel()
            call.cancel()
        return answered

    async def _write(self, call: Any, unsent: asyncio.Queue[str], pause: float) -> None:
        clock = asyncio.get_running_loop().time
        await asyncio.sleep(pause)
        try:
            while True:
                name = await unsent.get()
                question = self._unanswered.get(name)
                if question and (left := question.deadline - clock()) > 0:
                    await call.write(
                        search_pb2.SearchStreamRequest(
                            correlation_id=name, request=question.message, timeout_ms=max(int(left * 1000), 1)
                        )
                    )
        except (grpc.aio.AioRpcError, asyncio.InvalidStateError):
            return  # the stream has ended: the reader learns why

    def _settle(self, reply: search_pb2.SearchStreamResponse) -> None:
        question = self._unanswered.pop(reply.correlation_id, None)
        if question is None or question.outcome.done():
            return  # whoever asked has left
        outcome = from_search_item(reply)
        if isinstance(outcome, SightlineError):
            question.outcome.set_exception(outcome)
        else:
            question.outcome.set_result(outcome)

    def _fail_all(self, error: SightlineError) -> None:
        for question in self._unanswered.values():
            if not question.outcome.done():
                question.outcome.set_exception(error)
        self._unanswered.clear()


def _is_final(error: SightlineError, fruitless: int) -> bool:
    """Whether opening another stream would meet the same error. Proxies that cut a stream make it look internal."""
    if isinstance(error, InternalError):
        return fruitless + 1 >= _PATIENCE
    return not isinstance(error, Unavailable)

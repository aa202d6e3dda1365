"""A stream of questions over HTTP: lines of JSON in, lines of JSON out, each as soon as it is done."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import ClientDisconnect
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.web.answers import StreamOut
from services.web.errors import of_validation
from services.web.questions import StreamLine
from services.web.translate import error_to, outcome_to, request_of
from sightline import SearchClient, SearchResult, SearchStream
from sightline.errors import InvalidArgument, SightlineError

MEDIA_TYPE = "application/x-ndjson"


class Duplex(StreamingResponse):
    """Answers while the request is still being read: nobody else may listen to it meanwhile."""

    media_type = MEDIA_TYPE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.stream_response(send)


class Lines:
    """Answers the questions of one stream.

    Args:
        client: who is asked.
        max_line: bytes of one line.
        window: questions that are worked on at a time; further ones are not read.
        timeout: seconds that each has unless it says otherwise.
    """

    def __init__(self, client: SearchClient, *, max_line: int, window: int, timeout: float) -> None:
        self._client, self._max_line, self._window, self._timeout = client, max_line, window, timeout

    async def answers(self, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yields a line for each question, in whatever order they are done. A line that is too long is the last."""
        done: asyncio.Queue[bytes | None] = asyncio.Queue()
        room = asyncio.Semaphore(self._window)
        async with self._client.stream(window=self._window, timeout=self._timeout) as stream:
            reading = asyncio.create_task(self._read(body, stream, room, done))
            try:
                while (line := await done.get()) is not None:
                    yield line
                    room.release()
                await reading
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(
        self,
        body: AsyncIterator[bytes],
        stream: SearchStream,
        room: asyncio.Semaphore,
        done: asyncio.Queue[bytes | None],
    ) -> None:
        try:
            async with asyncio.TaskGroup() as asked:
                try:
                    async for line in _split(body, self._max_line):
                        await room.acquire()
                        asked.create_task(self._answer(line, stream, done))
                except SightlineError as error:
                    done.put_nowait(_line(StreamOut(correlation_id="", error=error_to(error))))
                except ClientDisconnect:
                    pass  # what is under way ends by its deadline
        finally:
            done.put_nowait(None)

    async def _answer(self, line: bytes, stream: SearchStream, done: asyncio.Queue[bytes | None]) -> None:
        name = ""
        outcome: SearchResult | SightlineError
        try:
            told = _parsed(line)
            name = told.correlation_id
            outcome = await stream.answer(request_of(told.request), timeout=told.timeout_ms / 1000 or None)
        except SightlineError as error:
            outcome = error
        done.put_nowait(_outcome(name, outcome))


def _parsed(line: bytes) -> StreamLine:
    try:
        return StreamLine.model_validate(from_json(line, allow_inf_nan=False))
    except ValidationError as exc:
        raise of_validation([{**fault, "loc": ("line", *fault["loc"])} for fault in exc.errors()]) from exc
    except ValueError as exc:
        raise InvalidArgument(f"a line is no JSON: {exc}", reason="NOT_JSON", field="line") from exc


def _outcome(name: str, outcome: SearchResult | SightlineError) -> bytes:
    item = outcome_to(outcome)
    return _line(StreamOut(correlation_id=name, response=item.response, error=item.error))


def _line(out: StreamOut) -> bytes:
    return out.model_dump_json(exclude_none=True).encode() + b"\n"


async def _split(body: AsyncIterator[bytes], max_line: int) -> AsyncIterator[bytes]:
    held = b""
    async for part in body:
        *whole, held = (held + part).split(b"\n")
        for line in whole:
            if line.strip():
                yield line
        if len(held) > max_line:
            raise InvalidArgument(f"may have at most {max_line:,} bytes", reason="LINE_TOO_LONG", field="line")
    if held.strip():
        yield held

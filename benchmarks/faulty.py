"""A proxy before an HTTP server that does what failing networks and failing servers do, when it is told to.

with FaultyProxy("127.0.0.1:7070") as proxy:
    with proxy.failing(Fault("hang", method="GET")):
        ...
    assert proxy.harmed
"""

from __future__ import annotations

import asyncio
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from services.local.ports import HOST, free_ports

KINDS = {
    "hang": "takes a request and never answers",
    "stall": "stops in the middle of the answer and keeps the connection",
    "truncate": "ends the connection in the middle of the answer",
    "shorten": "sends the first half of the answer as if that were all",
    "error": "answers with a status of its own; the server never hears of the request",
    "lose": "passes the request on and resets the connection in place of the answer",
    "reset": "resets the connection",
    "trickle": "sends the answer in small pieces, with pauses",
}
PIECE, PAUSE = 2048, 0.02
_ERROR = b"<?xml version='1.0'?><Error><Code>%s</Code><Message>made to fail</Message></Error>"
_CODES = {500: b"InternalError", 503: b"ServiceUnavailable"}


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to requests.

    Attributes:
        kind: one of KINDS.
        method, path: regular expressions, of the whole method and of any part of the path with its query.
        status: of `error`.
        times: to how many requests; to all where it is 0.
    """

    kind: str
    method: str = ".*"
    path: str = ""
    status: int = 500
    times: int = 0

    def meets(self, method: str, path: str) -> bool:
        """Returns whether a request is one of these."""
        return bool(re.fullmatch(self.method, method) and re.search(self.path, path))


@dataclass(slots=True)
class _Request:
    method: str
    path: str
    head: bytes
    body: bytes


class FaultyProxy:
    """Serves on a port of its own, from a thread of its own; one request a connection.

    Args:
        server: host:port of the real one.

    Attributes:
        address: host:port of this one.
        harmed: how many requests each kind of fault has met.
    """

    def __init__(self, server: str) -> None:
        self.address = f"{HOST}:{free_ports(1)[0]}"
        self.harmed: Counter[str] = Counter()
        self._server = server
        self._fault: Fault | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        host, port = self.address.split(":")
        started: Future[asyncio.Server] = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self._accept, host, int(port)), self._loop
        )
        started.result()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(_cancel_all(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @contextmanager
    def failing(self, fault: Fault) -> Iterator[None]:
        """Makes requests fail while it lasts. Whatever hangs then stays so after it."""
        self.harmed.clear()
        self._fault = fault
        try:
            yield
        finally:
            self._fault = None

    def _fault_of(self, request: _Request) -> Fault | None:
        fault = self._fault
        if fault is None or not fault.meets(request.method, request.path):
            return None
        if fault.times and self.harmed[fault.kind] >= fault.times:
            return None
        self.harmed[fault.kind] += 1
        return fault

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving = asyncio.create_task(self._serve(reader, writer))
        self._serving.add(serving)
        serving.add_done_callback(self._serving.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Whoever hangs up has had enough.
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await _read(reader, writer)
            fault = self._fault_of(request)
            if fault and fault.kind == "hang":
                await asyncio.Event().wait()
            elif fault and fault.kind == "error":
                writer.write(_error(fault.status, request.method))
            elif fault and fault.kind == "reset":
                return _reset(writer)
            else:
                await _answer(writer, await self._ask(request), fault)
            await writer.drain()
        writer.close()
        return None

    async def _ask(self, request: _Request) -> bytes:
        """Returns the server's whole answer."""
        host, port = self._server.split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(request.head + request.body)
            await writer.drain()
            return await reader.read()  # which closes the connection after its answer
        finally:
            writer.close()


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> _Request:
    head = await reader.readuntil(b"\r\n\r\n")
    if re.search(rb"(?i)\r\nexpect: 100-continue\r\n", head):
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        head = re.sub(rb"(?i)\r\nexpect: 100-continue(?=\r\n)", b"", head)
    head = re.sub(rb"(?i)\r\nconnection: [^\r]*", b"", head).replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    body = await reader.readexactly(int(length[1])) if length else b""
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    return _Request(method, path, head, body)


async def _answer(writer: asyncio.StreamWriter, answer: bytes, fault: Fault | None) -> None:
    head, separator, body = answer.partition(b"\r\n\r\n")
    half = head + separator + body[: len(body) // 2]
    match fault.kind if fault else "":
        case "stall":
            writer.write(half)
            await asyncio.Event().wait()
        case "truncate":
            writer.write(half)
        case "shorten":
            length = b"Content-Length: %d" % (len(body) // 2)
            writer.write(re.sub(rb"(?i)content-length: *\d+", length, half, count=1))
        case "lose":
            _reset(writer)
        case "trickle":
            for at in range(0, len(answer), PIECE):
                writer.write(answer[at : at + PIECE])
                await writer.drain()
                await asyncio.sleep(PAUSE)
        case _:
            writer.write(answer)


def _error(status: int, method: str) -> bytes:
    body = b"" if method == "HEAD" else _ERROR % _CODES[status]
    head = b"HTTP/1.1 %d Failed\r\nContent-Type: application/xml\r\nContent-Length: %d\r\nConnection: close\r\n\r\n"
    return head % (status, len(body)) + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Ends a connection as a crash does."""
    held: socket.socket = writer.get_extra_info("socket")
    held.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _cancel_all() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

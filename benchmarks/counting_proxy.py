"""A proxy that counts what comes through it: how many bytes a command downloads, and for how long."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

_CHUNK = 1 << 16
_BINS_PER_SECOND = 4


class CountingProxy:
    """Takes CONNECT, and requests with whole addresses, as programs send them that are told of a proxy.

    Attributes:
        received: bytes that came from the servers.
        hosts: the bytes of each of them.
    """

    def __init__(self) -> None:
        self.received = 0
        self.hosts: dict[str, int] = {}
        self._bins: set[int] = set()

    @property
    def busy_seconds(self) -> float:
        """For how long bytes were coming."""
        return len(self._bins) / _BINS_PER_SECOND

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serves one connection."""
        with suppress(OSError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
            tunnel = method == "CONNECT"
            address = urlsplit(f"//{target}" if tunnel else target)
            host = address.hostname or ""
            upstream, to_server = await asyncio.open_connection(host, address.port or 80)
            if tunnel:
                writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                to_server.write(head)
            await asyncio.gather(self._copy(reader, to_server, ""), self._copy(upstream, writer, host))
        writer.close()

    async def _copy(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, host: str) -> None:
        with suppress(OSError):
            while data := await source.read(_CHUNK):
                if host:
                    self.received += len(data)
                    self.hosts[host] = self.hosts.get(host, 0) + len(data)
                    self._bins.add(int(time.monotonic() * _BINS_PER_SECOND))
                to.write(data)
                await to.drain()
        to.close()


@contextmanager
def counting() -> Iterator[tuple[CountingProxy, str]]:
    """Runs a proxy beside the block; yields it and its address, http://host:port."""
    proxy, loop, began = CountingProxy(), asyncio.new_event_loop(), threading.Event()
    address: list[str] = []

    async def serve() -> None:
        server = await asyncio.start_server(proxy.handle, "127.0.0.1", 0)
        address.append("http://{}:{}".format(*server.sockets[0].getsockname()[:2]))
        began.set()

    thread = threading.Thread(target=lambda: (loop.create_task(serve()), loop.run_forever()), daemon=True)
    thread.start()
    began.wait()
    try:
        yield proxy, address[0]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()

"""A process that serves HTTP: its port and its way out."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.types import ASGIApp

from services.runtime.process import Process
from services.runtime.settings import Settings

log = logging.getLogger("sightline.server")

KEEP_ALIVE_SECONDS = 75
MAX_HEAD_BYTES = 64 * 1024
"""Bytes of a request's line and headers: room for a long query in percent signs."""


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to the process."""
        yield


async def serve(settings: Settings, process: Process, app: ASGIApp, *, close: Callable[[], Awaitable[None]]) -> None:
    """Serves until SIGTERM or SIGINT, then drains: no longer ready → go on serving while names expire → let what is in
    flight finish → `close`."""
    listener = _listen(settings.listen)
    server = _Server(
        uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            http="h11",
            ws="none",
            lifespan="off",
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=max(1, round(settings.grace_seconds)),
            h11_max_incomplete_event_size=MAX_HEAD_BYTES,
            backlog=2048,
        )
    )
    serving = asyncio.create_task(server.serve([listener]))
    port = listener.getsockname()[1]
    log.info("listening on port %d, health on port %d", port, process.health_port)
    try:
        process.ready()
        stopping = asyncio.create_task(process.stop.wait())
        await asyncio.wait({stopping, serving}, return_when=asyncio.FIRST_COMPLETED)
        process.draining()
        if not serving.done():
            await asyncio.sleep(settings.drain_seconds)
    finally:
        server.should_exit = True
        await serving
        await close()
        process.close()


def _listen(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host.strip("[]"), int(port)), family=family, backlog=2048)

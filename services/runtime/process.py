"""What every process does whatever it serves: it logs, tells its health, hears when to stop, and drains."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Awaitable
from importlib import metadata

from services.runtime import tracing
from services.runtime.health import Health, start_health_port
from services.runtime.logs import configure
from services.runtime.metrics import build_info, loop_lag_seconds
from services.runtime.settings import PREFIX, Settings

log = logging.getLogger("sightline.server")

BEAT_SECONDS = 0.25


class Process:
    """One running process, made in its event loop: its logs, its plain port, and the signals that end it.

    Attributes:
        health: what the plain port tells.
        health_port: the plain port.
        stop: set by SIGTERM and SIGINT.
    """

    def __init__(self, settings: Settings) -> None:
        configure(settings.log_level)
        self.health = Health()
        self.stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, self.stop.set)
        build_info.labels(settings.component, version()).set(1)
        _trace(settings)
        self.health_port = start_health_port(settings.health_listen, self.health)
        self._beating = asyncio.create_task(_beat(self.health))

    async def unless_stopped(self, work: Awaitable[None]) -> bool:
        """Waits for the work; returns False, with the work cancelled, where the process is told to stop first."""
        task, stopped = asyncio.ensure_future(work), asyncio.create_task(self.stop.wait())
        try:
            await asyncio.wait({task, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            return task.done()
        finally:
            task.cancel()
            stopped.cancel()

    def ready(self) -> None:
        """Says that calls may come."""
        self.health.ready = True
        log.info("ready")

    def draining(self) -> None:
        """Says that no more calls should come."""
        log.info("draining")
        self.health.ready = False

    def close(self) -> None:
        """Ends the beat: the last thing that a process does."""
        self._beating.cancel()
        tracing.stop()
        log.info("stopped")


def _trace(settings: Settings) -> None:
    """Records traces where the settings say so. Where it cannot be done, says so and exits with 2."""
    if not settings.otlp_endpoint:
        return
    try:
        tracing.start(settings.component, version(), settings.otlp_endpoint, settings.trace_share)
    except tracing.MissingExtra as error:
        print(f"{PREFIX}OTLP_ENDPOINT: {error}", file=sys.stderr)
        sys.exit(2)


async def _beat(health: Health) -> None:
    loop = asyncio.get_running_loop()
    while True:
        health.beat()
        due = loop.time() + BEAT_SECONDS
        await asyncio.sleep(BEAT_SECONDS)
        loop_lag_seconds.observe(max(0.0, loop.time() - due))


def version() -> str:
    """Returns the version of this installation; `unknown` where the code runs without being installed."""
    try:
        return metadata.version("sightline")
    except metadata.PackageNotFoundError:
        return "unknown"

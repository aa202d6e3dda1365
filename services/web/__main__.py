"""Runs a web process: python -m services.web"""

from __future__ import annotations

import asyncio

from services.runtime.process import Process
from services.runtime.settings import load
from services.web.app import application, bordered
from services.web.server import serve
from services.web.settings import WebSettings
from sightline import Client


async def main() -> None:
    """Serves until it is told to stop."""
    settings = load(WebSettings)
    process = Process(settings)
    client = Client(settings.gateway, timeout=settings.default_timeout_seconds)
    app = application(settings, client, process.health)
    await serve(settings, process, bordered(settings, app), close=client.close)


if __name__ == "__main__":
    asyncio.run(main())

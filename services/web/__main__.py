"""Runs a web process: python -m services.web"""

from __future__ import annotations

import asyncio

from services.runtime.process import Process
from services.runtime.settings import load
from services.web.app import application, bordered
from services.web.server import serve
from services.web.settings import WebSettings
from sightline import Client, Tls


def _tls(settings: WebSettings) -> Tls | None:
    """How to speak to the gateways; None in the clear."""
    if settings.gateway_ca or settings.gateway_cert or settings.gateway_cert_key:
        return Tls(settings.gateway_ca, settings.gateway_cert, settings.gateway_cert_key)
    return None


async def main() -> None:
    """Serves until it is told to stop."""
    settings = load(WebSettings)
    process = Process(settings)
    client = Client(
        settings.gateway,
        tls=_tls(settings),
        key=settings.gateway_key.get_secret_value(),
        timeout=settings.default_timeout_seconds,
    )
    app = application(settings, client, process.health)
    await serve(settings, process, bordered(settings, app), close=client.close)


if __name__ == "__main__":
    asyncio.run(main())

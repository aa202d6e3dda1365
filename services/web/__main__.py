"""Runs a web process: python -m services.web"""

from __future__ import annotations

import asyncio
import sys

from services.runtime import tracing
from services.runtime.process import Process
from services.runtime.settings import load
from services.web.app import application, bordered
from services.web.server import serve
from services.web.settings import WebSettings
from sightline import Client, Tls
from sightline.errors import InvalidArgument


def tls(settings: WebSettings) -> Tls | None:
    """How to speak to the gateways; None in the clear. Where a file is wrong, says so and exits with 2."""
    if not (settings.gateway_ca or settings.gateway_cert or settings.gateway_cert_key):
        return None
    tls = Tls(settings.gateway_ca, settings.gateway_cert, settings.gateway_cert_key)
    try:
        tls.credentials()
    except InvalidArgument as error:
        print(f"SIGHTLINE_GATEWAY_CA, SIGHTLINE_GATEWAY_CERT, SIGHTLINE_GATEWAY_CERT_KEY: {error}", file=sys.stderr)
        sys.exit(2)
    return tls


async def main() -> None:
    """Serves until it is told to stop."""
    settings = load(WebSettings)
    process = Process(settings)
    client = Client(
        settings.gateway,
        tls=tls(settings),
        key=settings.gateway_key.get_secret_value(),
        timeout=settings.default_timeout_seconds,
        metadata=tracing.headers,
    )
    app = application(settings, client, process.health)
    await serve(settings, process, bordered(settings, app), close=client.close)


if __name__ == "__main__":
    asyncio.run(main())

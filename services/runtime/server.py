"""A process that serves gRPC: its port, its health service, and its way out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from services.runtime.gate import Gate
from services.runtime.interceptor import Border
from services.runtime.keys import Keys
from services.runtime.metrics import calls_of
from services.runtime.process import Process
from services.runtime.reflecting import Descriptors
from services.runtime.settings import Settings
from services.runtime.wire import methods_of
from sightline._channel import MAX_MESSAGE

log = logging.getLogger("sightline.server")

QUIET_SECONDS = 0.2
"""Without a call for so long, a server that is on its way out takes no more."""


def server_options(settings: Settings) -> list[tuple[str, int]]:
    """Returns the channel arguments of every server."""
    return [
        ("grpc.max_receive_message_length", MAX_MESSAGE),
        ("grpc.max_send_message_length", MAX_MESSAGE),
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.grace_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
        # Below the interval at which our clients ping, or they would be told to calm down.
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 500),
        ("grpc.so_reuseport", 0),
    ]


async def serve(
    settings: Settings,
    *,
    service_names: Sequence[str],
    register: Callable[[grpc.aio.Server], None],
    warm: Callable[[], Awaitable[None]],
    close: Callable[[], Awaitable[None]],
    ending: asyncio.Event | None = None,
    credentials: grpc.ServerCredentials | None = None,
    keys: Keys | None = None,
) -> None:
    """Serves until SIGTERM or SIGINT, then drains.

    The gRPC port opens first, so that a process that is still warming up can say so; the process is ready when `warm`
    returns. To drain is: no longer ready → go on serving while names expire → let what is in flight finish → `close`.

    Args:
        settings: addresses and times.
        service_names: full names of the services, for health and reflection.
        register: adds the servicers.
        warm: returns when the process can serve at full speed.
        close: gives back what the process holds.
        ending: set when calls must come to their end, for servicers that hold streams open.
        credentials: for TLS; the port is in the clear without them. The health port always is.
        keys: of callers; anybody may call without them.
    """
    running = Process(settings)
    border = Border()
    server = grpc.aio.server(
        interceptors=[Gate(keys), border] if keys else [border],
        options=server_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_calls,
    )
    register(server)
    for method in methods_of(service_names):
        calls_of(method)
    health_service = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_service, server)
    names = [*service_names, health.SERVICE_NAME, reflection.SERVICE_NAME]
    reflection.enable_server_reflection(names, server, pool=Descriptors())
    for name in ("", *service_names):
        await health_service.set(name, health_pb2.HealthCheckResponse.NOT_SERVING)

    port = (
        server.add_secure_port(settings.listen, credentials)
        if credentials
        else server.add_insecure_port(settings.listen)
    )
    await server.start()
    how = f"{'TLS' if credentials else 'in the clear'}, {'with keys' if keys else 'open to all'}"
    log.info("listening on port %d (%s), health on port %d", port, how, running.health_port)
    try:
        if await running.unless_stopped(warm()):
            for name in ("", *service_names):
                await health_service.set(name, health_pb2.HealthCheckResponse.SERVING)
            running.ready()
            await running.stop.wait()
            running.draining()
            await health_service.enter_graceful_shutdown()
            await asyncio.sleep(settings.drain_seconds)
            await _quiet(border, settings.grace_seconds / 2)
    finally:
        if ending:
            ending.set()
        await server.stop(settings.grace_seconds)
        await close()
        running.close()


async def _quiet(border: Border, at_most: float) -> None:
    """Waits until no call has begun for a moment: one that arrived and has not begun is lost when a server stops."""
    until = asyncio.get_running_loop().time() + at_most
    while border.quiet_for < QUIET_SECONDS and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(QUIET_SECONDS / 4)

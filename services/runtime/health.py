"""The plain port: /healthz, /readyz and /metrics, on a thread that no busy event loop can hide."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

StartResponse = Callable[..., Any]


class Health:
    """Whether this process lives and whether it is ready.

    It lives while its event loop beats. It is ready from its warm-up until it drains: both are local facts, so that the
    failure of one tier never takes another out of service.
    """

    def __init__(self, stale_after: float = 60.0) -> None:
        self.ready = False
        self._stale_after = stale_after
        self._beaten = time.monotonic()

    def beat(self) -> None:
        """Called by the event loop several times a second."""
        self._beaten = time.monotonic()

    @property
    def alive(self) -> bool:
        """Whether the event loop has beaten lately."""
        return time.monotonic() - self._beaten < self._stale_after


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Probes and scrapes are not news."""


def start_health_port(address: str, health: Health) -> int:
    """Serves the health of this process; returns the port, which the system chose where `address` ends in `:0`."""
    metrics = make_wsgi_app()

    def app(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        path = environ.get("PATH_INFO")
        if path == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return]
        verdict = {"/healthz": health.alive, "/readyz": health.ready}.get(str(path))
        status = "404 Not Found" if verdict is None else "200 OK" if verdict else "503 Service Unavailable"
        start_response(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [status[4:].encode() + b"\n"]

    host, _, port = address.rpartition(":")
    server = make_server(host, int(port), app, server_class=_Server, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()
    return server.server_port

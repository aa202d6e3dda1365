"""What a running process says of itself: readiness and metrics."""

from __future__ import annotations

import socket
import urllib.error
import urllib.request
from collections.abc import Iterable

TIMEOUT_SECONDS = 2.0


class Samples(dict[str, float]):
    """The samples of one scrape, by name with labels as Prometheus writes them: `name{label="value"}`."""

    def total(self, metric: str, **labels: str) -> float:
        """Returns the sum of a metric's samples that have these labels; 0.0 where it has none."""
        wanted = [f'{name}="{value}"' for name, value in labels.items()]
        return sum(
            value
            for sample, value in self.items()
            if sample.partition("{")[0] == metric and all(label in sample for label in wanted)
        )


def parse_metrics(lines: Iterable[str]) -> Samples:
    """Reads Prometheus' text format."""
    pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
    return Samples({name: float(value) for name, value in pairs})


def metrics(address: str) -> Samples:
    """Scrapes a process by its health address. Raises OSError where it does not answer."""
    return parse_metrics(exposition(address))


def exposition(address: str) -> list[str]:
    """Returns the lines of a scrape, as they are. Raises OSError where the process does not answer."""
    return _get(address, "/metrics").splitlines()


def is_ready(address: str, path: str = "/readyz") -> bool:
    """Whether the process with this health address says at this path that it is ready."""
    try:
        _get(address, path)
    except OSError:
        return False
    return True


def is_redis_ready(address: str) -> bool:
    """Whether a Redis answers a PING at this address."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT_SECONDS) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


# Loopback is never reached through a proxy, whatever the environment says.
_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _get(address: str, path: str) -> str:
    """Returns the body of a 200. Raises OSError for everything else."""
    try:
        with _OPENER.open(f"http://{address}{path}", timeout=TIMEOUT_SECONDS) as reply:
            return str(reply.read(), "utf-8")
    except ValueError as fault:
        raise OSError(str(fault)) from fault

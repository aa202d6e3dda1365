"""Free ports of the loopback interface."""

from __future__ import annotations

import random
import socket

HOST = "127.0.0.1"
# Below the ports that systems give to outgoing connections: a port must still be free when its process starts again.
FIRST, LAST = 15_000, 32_000


class PortError(Exception):
    """Somebody else listens on this port."""


def free_ports(count: int) -> list[int]:
    """Returns ports that nobody listens on, all different."""
    found: set[int] = set()
    # A random start, so that clusters that start at the same moment do not choose alike.
    candidate = random.randrange(FIRST, LAST)
    for _ in range(LAST - FIRST):
        if len(found) == count:
            break
        if is_free(candidate):
            found.add(candidate)
        candidate = candidate + 1 if candidate + 1 < LAST else FIRST
    return sorted(found)


def is_free(port: int) -> bool:
    """Whether a server could listen on this port."""
    with socket.socket() as probe:
        # Servers set this too: connections that have ended do not hold a port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def check_free(port: int) -> int:
    """Returns this port; 0 stands for any. Raises PortError where somebody listens on it."""
    if port and not is_free(port):
        raise PortError(f"port {port} is in use: choose another with --port, or any with --port 0")
    return port

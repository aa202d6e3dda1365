"""benchmarks/counting_proxy.py, over loopback."""

from __future__ import annotations

import socket
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

import pytest

from benchmarks.counting_proxy import counting

SIZE = 300_000


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(bytes(SIZE))

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize("tunnel", [False, True])
def test_counts(tunnel: bool) -> None:
    """What a program downloads through the proxy arrives whole and is counted, asked for in either way."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Page) as server, counting() as (proxy, address):
        Thread(target=server.serve_forever, daemon=True).start()
        target = f"127.0.0.1:{server.server_port}"
        got = _by_tunnel(address, target) if tunnel else _by_address(address, target)
        server.shutdown()
    assert got >= SIZE
    assert SIZE <= proxy.received < SIZE + 1000
    assert proxy.busy_seconds > 0


def _by_address(proxy: str, target: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({"http": proxy}))
    return len(opener.open(f"http://{target}/", timeout=30).read())


def _by_tunnel(proxy: str, target: str) -> int:
    at = urlsplit(proxy)
    with socket.create_connection((at.hostname, at.port or 0), timeout=30) as connection:
        connection.sendall(f"CONNECT {target} HTTP/1.1\r\n\r\n".encode())
        assert b"200" in connection.recv(1000)
        connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
        got = 0
        while data := connection.recv(65_536):
            got += len(data)
    return got

"""A program that runs beside a Prometheus: tells it over HTTP which pods to scrape.

targets.py NAMESPACE PORT        every pod of the namespace with a port called `health`

Not every Prometheus is built to ask Kubernetes by itself: Debian's is not.
"""

from __future__ import annotations

import json
import ssl
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
NAMESPACE, PORT = sys.argv[1], int(sys.argv[2])


def listed() -> list[dict[str, Any]]:
    """Returns the targets, as `http_sd_configs` reads them. Raises OSError."""
    token = (ACCOUNT / "token").read_text(encoding="utf-8")
    request = urllib.request.Request(
        f"https://kubernetes.default.svc/api/v1/namespaces/{NAMESPACE}/pods",
        headers={"Authorization": f"Bearer {token}"},
    )
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=5, context=trusted) as reply:
        pods = json.load(reply)["items"]
    found = []
    for pod in pods:
        ports = [port for one in pod["spec"]["containers"] for port in one.get("ports", ())]
        health = [port["containerPort"] for port in ports if port.get("name") == "health"]
        if health and pod["status"].get("podIP"):
            labels = {
                "namespace": NAMESPACE,
                "pod": pod["metadata"]["name"],
                "component": pod["metadata"]["labels"].get("app.kubernetes.io/component", ""),
            }
            found.append({"targets": [f"{pod['status']['podIP']}:{health[0]}"], "labels": labels})
    return found


class Handler(BaseHTTPRequestHandler):
    """Answers every question with the targets."""

    def do_GET(self) -> None:
        """Answers one question."""
        body = json.dumps(listed()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Says nothing of those that go well; what goes wrong is told by Prometheus."""


if __name__ == "__main__":
    HTTPServer(("127.0.0.1", PORT), Handler).serve_forever()

"""The API server, as the stand-ins ask it: plain HTTPS with the administrator's certificate."""

from __future__ import annotations

import json
import ssl
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

TIMEOUT = 5.0


class Api:
    """Asks an API server.

    Args:
        url: of the server.
        pki: folder with `ca.crt`, `admin.crt` and `admin.key`.
    """

    def __init__(self, url: str, pki: Path) -> None:
        self._url = url
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")

    def items(self, path: str, **query: str) -> list[dict[str, Any]]:
        """Returns the objects of a list, such as `/api/v1/pods`. Raises OSError."""
        url = f"{self._url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        with urllib.request.urlopen(url, context=self._context, timeout=TIMEOUT) as reply:
            listed: dict[str, list[dict[str, Any]]] = json.load(reply)
        return listed["items"]

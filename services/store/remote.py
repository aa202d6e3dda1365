"""What fsspec is told of stores over a network, how long to wait and that others write there too; and what it tells."""

from __future__ import annotations

from typing import Any

import fsspec.config
from fsspec.core import split_protocol

CONNECTIONS = 64
"""As many as calls may be under way; see patience. Those that hang must not leave none to the others."""
_ATTEMPTS = 3
_CONNECT_SECONDS = 5.0
_READ_SECONDS = 15.0


def options(url: str, timeout: float) -> dict[str, Any]:
    """Returns the arguments of the file system that `url` is on.

    Args:
        url: of a store.
        timeout: seconds that one call may take in all.
    """
    # Cached listings would hide what others publish.
    told: dict[str, Any] = {"use_listings_cache": False}
    if split_protocol(url)[0] in {"s3", "s3a"}:
        # Half of the time, so that a connection which hangs leaves the other half to another.
        waits = {"connect_timeout": min(_CONNECT_SECONDS, timeout / 2), "read_timeout": min(_READ_SECONDS, timeout / 2)}
        tries = {"retries": {"total_max_attempts": _ATTEMPTS, "mode": "standard"}}
        configured = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
        told["config_kwargs"] = {**waits, **tries, "max_pool_connections": CONNECTIONS, **configured}
    return told


def protocols(fs: Any) -> tuple[str, ...]:
    """Returns the names of a file system, such as `s3` and `s3a`; fsspec has one as a text and several as a tuple."""
    return (fs.protocol,) if isinstance(fs.protocol, str) else tuple(fs.protocol)


def hidden(url: str) -> str:
    """Returns a URL without the name and password that it may hold, for messages."""
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}" if separator else url


def without_secrets(text: str, url: str) -> str:
    """Returns a text without the name and password that `url` may hold."""
    secret = url.partition("://")[2].partition("/")[0].rpartition("@")[0]
    return text.replace(f"{secret}@", "") if secret else text

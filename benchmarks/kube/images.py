"""Which images a proof installs: those that deploy/images.py has built last, or others that a registry has.

SIGHTLINE_TEST_REGISTRY and SIGHTLINE_TEST_TAG name ours in a registry, SIGHTLINE_TEST_STORE (versitygw),
SIGHTLINE_TEST_PROMETHEUS, SIGHTLINE_TEST_REDIS and SIGHTLINE_TEST_GHZ others whole.
"""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

_CACHE = Path(os.environ.get("SIGHTLINE_CACHE") or Path.home() / ".cache" / "sightline")
_LISTED = _CACHE / "cluster" / "images" / "images.json"


def of(service: str) -> str:
    """Returns the image of a service of ours."""
    return f"{registry()}/sightline-{service}:{tag()}"


def registry() -> str:
    """Returns where our images are."""
    return os.environ.get("SIGHTLINE_TEST_REGISTRY", "localhost")


@cache
def tag() -> str:
    """Returns the tag that our images have. Raises FileNotFoundError where none were built or named."""
    if named := os.environ.get("SIGHTLINE_TEST_TAG"):
        return named
    listed: dict[str, dict[str, Any]] = json.loads(_LISTED.read_text(encoding="utf-8"))
    return str(listed["gateway"]["image"]).rpartition(":")[2]


def other(name: str) -> str:
    """Returns the image of a program that is not ours: store, prometheus, redis or ghz."""
    ours = {"store": "localhost/versitygw:sightline"}.get(name, f"localhost/{name}:sightline")
    return os.environ.get(f"SIGHTLINE_TEST_{name.upper()}", ours)


def values() -> dict[str, Any]:
    """Returns what the chart is told of them."""
    return {
        "image": {"registry": registry(), "repository": "sightline", "tag": tag()},
        "redis.image": _whole(other("redis")),
        "load.image": _whole(other("ghz")),
    }


def _whole(name: str) -> dict[str, str]:
    repository, _, its_tag = name.rpartition(":")
    return {"registry": "", "repository": repository, "tag": its_tag}

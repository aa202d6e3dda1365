"""What the tests of the chart share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.charts.rendering import Object, render

Render = Callable[..., dict[str, Object]]


@pytest.fixture
def rendered() -> Render:
    """Renders values over a store, and returns the objects by kind and name: `Deployment/sightline-gateway`."""

    def by_name(release: str = "sightline", **values: Any) -> dict[str, Object]:
        objects = render({"store": {"url": "s3://bucket/index"}, **values}, name=release)
        return {f"{one['kind']}/{one['metadata']['name']}": one for one in objects}

    return by_name

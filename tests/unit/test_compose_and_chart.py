"""The laptop's compose file says what the chart says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CHART = DEPLOY / "helm" / "sightline"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"]
# What the chart fills in itself, because it knows it of the other workloads.
FILLED_IN = {"STORE", "ENCODERS", "SEARCHERS", "REDIS_URL", "GATEWAY", "GROUP", "GROUPS"}


def merged(below: Any, above: Any) -> Any:
    """Values as Helm merges them."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {name: merged(below.get(name), value) for name, value in above.items()}


def values() -> Any:
    """The chart's values with those of its example for laptops."""
    read = [
        yaml.safe_load(file.read_text(encoding="utf-8"))
        for file in (CHART / "values.yaml", CHART / "examples/laptop.yaml")
    ]
    return merged(*read)


@pytest.mark.parametrize("service", ["gateway", "web", "encoder", "searcher-0", "searcher-1"])
def test_settings_are_those_of_the_chart_on_a_laptop(service: str) -> None:
    """But for addresses, a process gets the same settings from the compose file as from the chart's laptop example."""
    given = {name.removeprefix("SIGHTLINE_"): value for name, value in COMPOSE[service]["environment"].items()}
    chosen = values()[service.split("-", maxsplit=1)[0]]["settings"]
    assert {name: value for name, value in given.items() if name not in FILLED_IN} == {
        name.upper(): str(value) for name, value in chosen.items()
    }


def test_the_laptop_has_as_many_groups_and_the_same_redis() -> None:
    """One searcher for each of the chart's groups, the chart's image of Redis, and as much memory for it."""
    chart = values()
    assert sum(name.startswith("searcher-") for name in COMPOSE) == chart["searcher"]["groups"]
    image = chart["redis"]["image"]
    assert COMPOSE["redis"]["image"] == f"{image['repository']}:{image['tag']}"
    assert chart["redis"]["maxMemory"] in COMPOSE["redis"]["command"]

"""Every value is used: taken away from a release that sets it, it changes what is rendered, or is missed."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.charts.rendering import CHART, Refused, read, render_texts

FOLDER = Path(__file__).with_name("everything")
# Maps whose names are not the chart's.
OPEN = {
    "env",
    "labels",
    "annotations",
    "nodeSelector",
    "affinity",
    "volume",
    "modelVolume",
    "settings",
    "grpcAnnotations",
}
NAMED = {"pools", "builds", "commands"}  # maps with names of the user's own

Way = tuple[str, ...]


def releases() -> list[dict[str, Any]]:
    """Values files that together set everything."""
    return [read(file) for file in sorted(FOLDER.glob("*.yaml"))]


def faults() -> list[str]:
    """The values that nobody sets here, and those that change nothing."""
    found, known = [], set[Way]()
    for values in releases():
        known |= {general for path in leaves(values) for general in _general(path)}
        found += unused(values)
    for path in leaves(read(CHART / "values.yaml")):
        if not any(way[: len(path)] == path for way in known):
            found.append(f"{'.'.join(path)} is set by no release")
    return found


def unused(values: dict[str, Any]) -> list[str]:
    """The values that change nothing where they are taken away."""
    whole = render_texts(values)
    drawn = any((CHART / "dashboards").glob("*.json"))
    of_use = [path for path in leaves(values) if drawn or path[:2] != ("monitoring", "dashboards")]
    return [f"{'.'.join(path)} changes nothing" for path in of_use if not _changes(values, path, whole)]


def leaves(values: Mapping[str, Any], before: Way = ()) -> Iterator[Way]:
    """The paths of all values, one by one but for settings and for maps whose names are not the chart's."""
    for name, value in values.items():
        path = (*before, name)
        if isinstance(value, Mapping) and value and name not in OPEN:
            yield from leaves(value, path)
        else:
            yield path


def _changes(values: dict[str, Any], path: Way, whole: Mapping[str, str]) -> bool:
    without = copy.deepcopy(values)
    node = without
    for name in path[:-1]:
        node = node[name]
    del node[path[-1]]
    try:
        return render_texts(without) != whole
    except Refused:
        return True


def _general(path: Way) -> set[Way]:
    """Where values.yaml has it: what a pool says, the block of encoders may say too."""
    for place, name in enumerate(path):
        if name in NAMED:
            return {path[: place + 1], path[:place] + path[place + 2 :]}
    return {path}

"""Draws the panels of a dashboard from a Prometheus, as Grafana lays them out: a picture for each row."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from benchmarks.prometheus import Prometheus, Series
from benchmarks.watched import Asked, filled
from deploy.observability.foreign import FOREIGN

COLUMNS, PIXELS = 24, 60
"""Of a dashboard's width, and of each column of a picture."""

LINE_HEIGHT = 30
"""Pixels of one unit of a panel's height."""

DPI = 100
COLOURS = 128
_WORDS: dict[str, Any] = {"size": 7, "color": "#444444"}
_UNITS = {"s": "s", "reqps": "/s", "bytes": "B", "none": "", "short": "", "percentunit": "%"}
_PALETTE = (
    "#3b6ea8",
    "#d9822b",
    "#4c9a52",
    "#b8433f",
    "#7d5ba6",
    "#8a6d3b",
    "#c76aa2",
    "#5f7d8c",
    "#a3a832",
    "#2aa5b0",
)


@dataclass(slots=True)
class Row:
    """A row of a dashboard: its title, its panels, and how many lines each of them had in the picture."""

    title: str
    panels: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Span:
    """What is looked at: seconds since 1970, seconds between points, and what `$__rate_interval` stands for."""

    first: float
    last: float
    step: float
    window: str


def rows_of(dashboard: Path) -> list[Row]:
    """Returns the rows of a dashboard's file."""
    rows: list[Row] = []
    for panel in json.loads(dashboard.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] == "row":
            rows.append(Row(panel["title"]))
        else:
            rows[-1].panels.append(panel)
    return rows


def draw(row: Row, prometheus: Prometheus, span: Span) -> bytes:
    """Draws a row; returns a PNG, and notes in the row how many lines each panel has."""
    top = min(panel["gridPos"]["y"] for panel in row.panels)
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in row.panels) - top
    size = COLUMNS * PIXELS, height * LINE_HEIGHT
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor="white")
    FigureCanvasAgg(figure)
    for panel in row.panels:
        at = panel["gridPos"]
        # Within its place: room for the title above, for values beside and times below.
        left, wide = (at["x"] * PIXELS + 46) / size[0], (at["w"] * PIXELS - 64) / size[0]
        below = 1 - ((at["y"] - top + at["h"]) * LINE_HEIGHT - (62 if panel["type"] == "timeseries" else 18)) / size[1]
        tall = (at["h"] * LINE_HEIGHT - (94 if panel["type"] == "timeseries" else 50)) / size[1]
        axes = figure.add_axes((left, below, wide, tall))
        axes.set_title(panel["title"], loc="left", fontsize=9, fontweight="bold", color="#222222", pad=5)
        row.lines[panel["title"]] = _draw_panel(axes, panel, prometheus, span)
    written = io.BytesIO()
    figure.savefig(written, format="png")
    return _small(written)


def _small(png: io.BytesIO) -> bytes:
    few = io.BytesIO()
    Image.open(png).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(few, "PNG", optimize=True)
    return few.getvalue()


def exporters(panel: Mapping[str, Any]) -> list[str]:
    """Returns who else exports what a panel asks for."""
    named = {name for target in panel["targets"] for name in Asked("", filled(target["expr"], "1m")).metrics}
    return sorted({FOREIGN[name] for name in named & FOREIGN.keys()})


def _draw_panel(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> int:
    defaults = panel["fieldConfig"]["defaults"]
    unit = defaults.get("unit", "none")
    if panel["type"] == "stat":
        return _number(axes, panel, unit, prometheus, span)
    found = [
        (_named(target["legendFormat"], series.labels), series)
        for target in panel["targets"]
        for series in prometheus.ask_range(filled(target["expr"], span.window), span.first, span.last, span.step)
        if series.has_data
    ]
    if not found:
        missing = exporters(panel)
        axes.text(0.5, 0.5, f"from {', '.join(missing)}" if missing else "no data", ha="center", **_WORDS)
        axes.set_axis_off()
        return 0
    found.sort(key=lambda one: -_most(one[1]))
    stacked = defaults.get("custom", {}).get("stacking", {}).get("mode") == "normal"
    (_stack if stacked else _lines)(axes, found, span)
    _finish(axes, panel, unit, span, len(found))
    return len(found)


def _number(axes: Axes, panel: Mapping[str, Any], unit: str, prometheus: Prometheus, span: Span) -> int:
    axes.set_axis_off()
    found = [one for one in prometheus.ask(filled(panel["targets"][0]["expr"], span.window), span.last) if one.has_data]
    if found:
        value = found[0].samples[0][1]
        steps = panel["fieldConfig"]["defaults"]["thresholds"]["steps"]
        colour = next((one["color"] for one in reversed(steps) if one["value"] is None or value >= one["value"]), "")
        shown = {"green": "#2c7a39", "red": "#b03a36"}.get(colour, "#222222")
        axes.text(0.0, 0.35, _value(value, unit), fontsize=20, color=shown, va="center")
    return len(found)


def _lines(axes: Axes, found: Sequence[tuple[str, Series]], span: Span) -> None:
    for place, (name, series) in enumerate(found):
        axes.plot(
            _times(span),
            _values(series, span, math.nan),
            linewidth=1.1,
            color=_PALETTE[place % len(_PALETTE)],
            label=name,
        )


def _stack(axes: Axes, found: Sequence[tuple[str, Series]], span: Span) -> None:
    layers = [_values(series, span, 0.0) for _, series in found]
    colours = [_PALETTE[place % len(_PALETTE)] for place in range(len(found))]
    names = [name for name, _ in found]
    axes.stackplot(_times(span), layers, labels=names, colors=colours, alpha=0.75, linewidth=0)


def _times(span: Span) -> list[float]:
    """Every point in time, in seconds before the last."""
    return [span.first + place * span.step - span.last for place in range(_count(span))]


def _values(series: Series, span: Span, missing: float) -> list[float]:
    """The value at every point in time; `missing` where there is none, so that no line crosses a gap."""
    known = {round((at - span.first) / span.step): value for at, value in series.samples if math.isfinite(value)}
    return [known.get(place, missing) for place in range(_count(span))]


def _count(span: Span) -> int:
    return round((span.last - span.first) / span.step) + 1


def _finish(axes: Axes, panel: Mapping[str, Any], unit: str, span: Span, lines: int) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    wide = panel["gridPos"]["w"] * 21 // 2  # letters
    low, high = axes.get_ylim()
    # Bounds are drawn across where they are in sight; what lies far below them is what one wants to see.
    for step in defaults.get("thresholds", {}).get("steps", ()):
        if step["value"] is not None and step["value"] < 2 * high:
            axes.axhline(step["value"], color="#b03a36", linewidth=0.8, linestyle=(0, (4, 3)))
    low, high = axes.get_ylim()
    axes.set_ylim(defaults.get("min", low), min(defaults.get("max", math.inf), high if high > low else low + 1))
    axes.set_xlim(span.first - span.last, 0)
    axes.yaxis.set_major_formatter(lambda value, _: _value(value, unit))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0f} s" if value else "now")
    axes.tick_params(labelsize=7, labelcolor="#444444", length=2, color="#bbbbbb")
    axes.grid(color="#e6e6e6", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(False)
    handles, names = axes.get_legend_handles_labels()
    shown = [f"{name[:34]}…" if len(name) > 35 else name for name in names]
    columns = max(1, min(4, wide // (max(map(len, shown)) + 5)))
    most = 3 * columns
    if lines > most:
        shown[most - 1] = f"and {lines - most + 1} more"
    style = {"fontsize": 6.5, "frameon": False, "handlelength": 1.0, "columnspacing": 1.2, "labelspacing": 0.25}
    place = {"bbox_to_anchor": (-0.03, -0.1), "ncols": columns}
    axes.legend(handles[:most], shown[:most], loc="upper left", **{**place, **style})


def _named(legend: str, labels: Mapping[str, str]) -> str:
    name = re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend)
    return re.sub(r"/sightline\.(internal\.)?v1\.", "", name).strip()


def _most(series: Series) -> float:
    return max(value for _, value in series.samples if math.isfinite(value))


def _value(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:,.0f} %" if abs(value) >= 10 else f"{100 * value:.4g} %"
    if unit == "s" and 0 < abs(value) < 1:
        return f"{1000 * value:.3g} ms"
    for size, letter in _sizes(unit):
        if abs(value) >= size:
            return f"{value / size:.3g} {letter}{_UNITS.get(unit, '')}"
    return f"{value:.3g}{' ' if unit == 's' else ''}{_UNITS.get(unit, '')}"


def _sizes(unit: str) -> Iterator[tuple[float, str]]:
    if unit == "bytes":
        yield from ((2.0**30, "Gi"), (2.0**20, "Mi"), (2.0**10, "Ki"))
    elif unit in ("short", "reqps"):
        yield from ((1e6, "M"), (1e3, "k"))

"""Draws courses side by side, as SVG: what came, what was there, and how long answers took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.cluster import OBJECTIVE, Course

COLOURS = ("#1f6feb", "#d1590a", "#7a7a7a")
PANEL_WIDTH, PANEL_HEIGHT, LEFT, TOP, GAP, ASIDE = 350, 108, 66, 72, 40, 60
POINTS = 350
SLOWEST = 10.0
"""Seconds at the upper edge of the panel of latencies."""

Line = NDArray[np.float64]


def draw(title: str, columns: Mapping[str, Mapping[str, Course]]) -> str:
    """Returns a picture.

    Args:
        title: of all of it.
        columns: by traffic and by whose autoscalers, what happened; the first ones are drawn on top.
    """
    names = [*next(iter(columns.values()))]
    tiers = [*next(iter(next(iter(columns.values())).values())).pods]
    rows = ["calls a second", *(f"{tier}s ready" for tier in tiers), "p99, ms"]
    width = LEFT + len(columns) * (PANEL_WIDTH + ASIDE)
    height = TOP + len(rows) * (PANEL_HEIGHT + GAP) + 8
    parts = [*_heading(title, names)]
    for place, (traffic, courses) in enumerate(columns.items()):
        x = LEFT + place * (PANEL_WIDTH + ASIDE)
        parts += _column(x, traffic, courses, rows, tiers)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="12" fill="#222">\n<rect width="{width}" height="{height}" fill="#fff"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _heading(title: str, names: Sequence[str]) -> Iterator[str]:
    yield f'<text x="{LEFT}" y="22" font-size="16" font-weight="bold">{escape(title)}</text>'
    for place, name in enumerate(names):
        x = LEFT + place * 190
        yield f'<path d="M{x} 41h26" stroke="{COLOURS[place]}" stroke-width="2.5"/>'
        yield f'<text x="{x + 32}" y="45">{escape(name)}</text>'


def _column(
    x: float, traffic: str, courses: Mapping[str, Course], rows: Sequence[str], tiers: Sequence[str]
) -> Iterator[str]:
    one = next(iter(courses.values()))
    hours = len(one.traffic) / 3600
    lines: list[list[Line]] = [
        [one.traffic],
        *([course.pods[tier] for course in courses.values()] for tier in tiers),
        [1e3 * course.tail for course in courses.values()],
    ]
    for row, (label, drawn) in enumerate(zip(rows, lines, strict=True)):
        y = TOP + row * (PANEL_HEIGHT + GAP)
        yield f'<text x="{x}" y="{y - 6}">{escape(f"{traffic}: {label}" if row == 0 else label)}</text>'
        yield from _panel(x, y, drawn, logarithmic=row == len(rows) - 1, plain=row == 0)
        for share in (0.0, 0.5, 1.0):
            at = hours * share
            said = f"{at:g} h" if hours > 3 else f"{60 * at:g} min"
            anchor = ("start", "middle", "end")[round(2 * share)]
            yield _small(x + PANEL_WIDTH * share, y + PANEL_HEIGHT + 13, said, anchor)


def _panel(x: float, y: float, drawn: Sequence[Line], *, logarithmic: bool, plain: bool) -> Iterator[str]:
    yield f'<rect x="{x}" y="{y}" width="{PANEL_WIDTH}" height="{PANEL_HEIGHT}" fill="none" stroke="#ccc"/>'
    top = 1e3 * SLOWEST if logarithmic else _round_up(max(float(line.max()) for line in drawn))
    marks = (1.0, 10.0, 100.0, 1e3, 1e4) if logarithmic else (0.0, top / 2, top)
    for mark in marks:
        at = y + PANEL_HEIGHT * (1 - _height(mark, top, logarithmic))
        yield f'<path d="M{x} {at:.1f}h{PANEL_WIDTH}" stroke="#e6e6e6"/>'
        yield _small(x - 5, at + 4, f"{mark:,.0f}" if mark == int(mark) else f"{mark:g}", "end")
    if logarithmic:
        at = y + PANEL_HEIGHT * (1 - _height(1e3 * OBJECTIVE, top, logarithmic))
        yield f'<path d="M{x} {at:.1f}h{PANEL_WIDTH}" stroke="#b00020" stroke-dasharray="4 3"/>'
        yield _small(x + PANEL_WIDTH - 3, at - 4, f"objective, {1e3 * OBJECTIVE:.0f} ms", "end")
    for place, line in reversed([*enumerate(drawn)]):
        yield _path(x, y, line, COLOURS[2] if plain else COLOURS[place], top=top, logarithmic=logarithmic)


def _path(x: float, y: float, line: Line, colour: str, *, top: float, logarithmic: bool) -> str:
    # The most of each pixel, so that nothing short is lost.
    most = [part.max() for part in np.array_split(line, min(POINTS, len(line)))]
    heights = [y + PANEL_HEIGHT * (1 - _height(float(one), top, logarithmic)) for one in most]
    step = PANEL_WIDTH / len(heights)
    points = " ".join(f"{x + step * (place + 0.5):.1f},{one:.1f}" for place, one in enumerate(heights))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>'


def _height(value: float, top: float, logarithmic: bool) -> float:
    share = np.log10(max(value, 1.0)) / np.log10(top) if logarithmic else value / top
    return float(min(max(share, 0.0), 1.0))


def _round_up(value: float) -> float:
    unit = 10.0 ** np.floor(np.log10(max(value, 1.0)))
    return float(next(unit * step for step in (1, 2, 4, 6, 8, 10) if unit * step >= value))


def _small(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="10" fill="#666" text-anchor="{anchor}">{escape(text)}</text>'

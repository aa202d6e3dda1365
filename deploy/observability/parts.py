"""What dashboards and rules are made of, before they become Grafana's and Prometheus' files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

Kind = Literal["line", "stat"]


@dataclass(frozen=True, slots=True)
class Query:
    """One line, or several, of a panel.

    Attributes:
        expr: PromQL; may name Grafana's `$namespace`, `$release` and `$__rate_interval`.
        legend: what its lines are called, with `{{label}}` for a label.
    """

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture.

    Attributes:
        title: what it shows.
        says: what to read from it, and what a bad sight looks like.
        unit: Grafana's name of the unit.
        queries: its lines.
        kind: lines over time, or one number.
        width: of the 24 columns of a dashboard.
        stacked: whether lines are parts of a whole.
        lines: values that are drawn across, with their colours.
        least, most: ends of the axis, where they are known.
    """

    title: str
    says: str
    unit: str
    queries: Sequence[Query]
    kind: Kind = "line"
    width: int = 8
    stacked: bool = False
    lines: Sequence[tuple[float, str]] = ()
    least: float | None = 0.0
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Panels that answer one question."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Record:
    """A recording rule: a query that Prometheus keeps the answers of."""

    name: str
    expr: str


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert.

    Attributes:
        name: also the heading of its runbook.
        expr: PromQL that has an answer while something is wrong.
        lasting: for how long it must have one.
        severity: `page` wakes somebody, `ticket` waits for the day.
        summary: what is wrong, with `{{ $labels.name }}` for a label.
    """

    name: str
    expr: str
    lasting: str
    severity: Literal["page", "ticket"]
    summary: str
    labels: Mapping[str, str] = field(default_factory=dict)

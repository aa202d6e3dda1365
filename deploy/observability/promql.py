"""Short words for the queries that all dashboards are made of."""

from __future__ import annotations

PICKED = 'namespace=~"$namespace", release=~"$release"'
"""What a dashboard looks at. Its default matches a Prometheus that knows of neither, too."""

WATCHED = 'namespace=~".*", release=~".*"'
"""What a rule looks at: everything. The chart puts its release in place of it, letter by letter."""

EACH = "namespace, release"
"""What tells installations apart."""

WINDOW = "$__rate_interval"


def picked(metric: str, where: str = "") -> str:
    """Returns a selector of the series that a dashboard looks at."""
    return f"{metric}{{{PICKED}{', ' if where else ''}{where}}}"


def watched(metric: str, where: str = "") -> str:
    """Returns a selector of the series that a rule looks at."""
    return f"{metric}{{{WATCHED}{', ' if where else ''}{where}}}"


def neighbours(metric: str) -> str:
    """Returns a selector of what others export, who know of no releases, in the namespace that a dashboard looks at."""
    return f'{metric}{{namespace=~"$namespace"}}'


def rate(metric: str, *by: str, where: str = "") -> str:
    """Returns how fast a counter grows, in units per second, summed by labels."""
    return f"sum{_by(by)} (rate({picked(metric, where)}[{WINDOW}]))"


def mean(histogram: str, *by: str, where: str = "") -> str:
    """Returns the mean of what a histogram saw lately."""
    return f"{rate(f'{histogram}_sum', *by, where=where)} / {rate(f'{histogram}_count', *by, where=where)}"


def quantile(share: float, histogram: str, *by: str, where: str = "") -> str:
    """Returns a quantile of what a histogram saw lately."""
    return f"histogram_quantile({share:g}, {rate(f'{histogram}_bucket', 'le', *by, where=where)})"


def of_component(expr: str) -> str:
    """Returns an expression by component, for metrics that every process has and that do not name it."""
    return f"({expr}) * on (job, instance) group_left (component) {picked('sightline_build_info')}"


def _by(labels: tuple[str, ...]) -> str:
    return f" by ({', '.join(labels)})" if labels else ""

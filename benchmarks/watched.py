"""What is asked of Prometheus by dashboards, rules and autoscalers: read from the chart's own files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser as promql
import yaml

from benchmarks.prometheus import CHART
from deploy.observability.foreign import FOREIGN

SUFFIXES = ("_bucket", "_count", "_sum")
_COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}
_IN_TEMPLATES = re.compile(r"`([^`]*\bsightline_\w+\{[^`]*)`")
"""Queries in templates stand between back-ticks, with %s for what is filled in."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One query.

    Attributes:
        where: the file and the panel, rule or autoscaler.
        expr: as it stands there, with Grafana's variables filled in.
    """

    where: str
    expr: str

    @property
    def bare(self) -> list[str]:
        """The query with its comparisons with a number taken off; several, where a comparison joined them."""
        return [one.prettify() for one in _bare(promql.parse(self.expr))]

    @property
    def metrics(self) -> set[str]:
        """The names of the metrics that it asks for."""
        return set(_names(promql.parse(self.expr)))

    @property
    def is_foreign(self) -> bool:
        """Whether it asks for what others export."""
        return bool(self.metrics & FOREIGN.keys())


def all_asked(window: str = "1m") -> list[Asked]:
    """Returns every query of the chart; `window` is what Grafana would make of its `$__rate_interval`."""
    return [*of_dashboards(window), *of_rules(), *of_autoscalers()]


def of_dashboards(window: str) -> Iterator[Asked]:
    """Yields the queries of all panels."""
    for file in sorted((CHART / "dashboards").glob("*.json")):
        for panel in json.loads(file.read_text(encoding="utf-8"))["panels"]:
            for target in panel.get("targets", ()):
                yield Asked(f"{file.name}: {panel['title']}", filled(target["expr"], window))


def filled(expr: str, window: str) -> str:
    """Returns a query with Grafana's variables filled in, of all namespaces and releases."""
    return expr.replace("$__rate_interval", window).replace("$namespace", ".*").replace("$release", ".*")


def of_rules() -> Iterator[Asked]:
    """Yields the queries of recording rules and alerts."""
    for file in sorted((CHART / "rules").glob("*.yaml")):
        for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                yield Asked(f"{file.name}: {rule.get('alert') or rule['record']}", rule["expr"])


def recorded() -> set[str]:
    """Returns the names that recording rules make."""
    files = (CHART / "rules").glob("*.yaml")
    groups = [group for file in files for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    return {rule["record"] for group in groups for rule in group["rules"] if "record" in rule}


def of_autoscalers(chart: Path = CHART) -> Iterator[Asked]:
    """Yields the queries of the chart's autoscalers: of prometheus-adapter's rules, and those that KEDA asks."""
    for file in sorted(chart.rglob("*")):
        if file.suffix not in (".yaml", ".yml", ".tpl") or not file.is_file():
            continue
        text = file.read_text(encoding="utf-8")
        if file.parent.name == "templates":
            yield from (Asked(file.name, _tidy(query.replace("%s", ""))) for query in _IN_TEMPLATES.findall(text))
        elif "metricsQuery" in text:
            yield from (Asked(file.name, _of_adapter(rule)) for rule in _adapter_rules(yaml.safe_load(text)))


def _adapter_rules(document: Any) -> Iterator[dict[str, Any]]:
    inner = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    if isinstance(document, dict) and "metricsQuery" in document:
        yield document
    for one in inner:
        yield from _adapter_rules(one)


def _of_adapter(rule: dict[str, Any]) -> str:
    """Returns the query of a rule as the adapter fills it in, for every pod at once."""
    series = str(rule["seriesQuery"]).partition("{")[0]
    filling = {"Series": series, "LabelMatchers": "", "GroupBy": "instance"}
    expr = str(rule["metricsQuery"])
    for name, value in filling.items():
        expr = re.sub(rf"<<\s*\.{name}\s*>>", value, expr)
    return _tidy(expr)


def _tidy(expr: str) -> str:
    """A selector from which something was left out has commas too many."""
    return re.sub(r",\s*(?=})", "", re.sub(r"(?<={)[\s,]+", "", re.sub(r",\s*,", ",", expr)))


def _bare(expr: Any) -> list[Any]:
    match expr:
        case promql.BinaryExpr() if str(expr.op) in _COMPARISONS:
            sides = [one for one in (expr.lhs, expr.rhs) if list(_names(one))]
            return [found for side in sides for found in _bare(side)]
        case promql.BinaryExpr() if str(expr.op) in ("and", "or", "unless"):
            return _bare(expr.lhs) + ([] if not list(_names(expr.rhs)) else _bare(expr.rhs))
        case promql.ParenExpr():
            return _bare(expr.expr)
    return [expr]


def _names(expr: Any) -> Iterator[str]:
    if isinstance(expr, promql.VectorSelector):
        yield str(expr.name)
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if (inner := getattr(expr, part, None)) is not None:
            yield from _names(inner)
    for argument in getattr(expr, "args", None) or ():
        yield from _names(argument)

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
ADAPTER = re.compile(r"^\s*metricsQuery:\s*(.+)$", re.MULTILINE)


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


def filled(expr: str, window: str, namespace: str = ".*") -> str:
    """Returns a query with Grafana's variables filled in."""
    return expr.replace("$__rate_interval", window).replace("$namespace", namespace)


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


def adapter_files() -> list[Path]:
    """Returns the files of the chart that hold rules of prometheus-adapter."""
    files = sorted(file for file in CHART.rglob("*") if file.suffix in (".yaml", ".yml", ".tpl") and file.is_file())
    return [file for file in files if "metricsQuery" in file.read_text(encoding="utf-8")]


def of_autoscalers() -> Iterator[Asked]:
    """Yields the queries of prometheus-adapter's rules, filled in as the adapter does it.

    The files are templates: of each rule only the series that it names and its query are read.
    """
    for file in adapter_files():
        text = file.read_text(encoding="utf-8")
        series = re.findall(r"seriesQuery:\s*['\"]?([a-z_:]+)", text)
        for place, query in enumerate(ADAPTER.findall(text)):
            expr = _unquoted(query)
            filling = {"Series": series[place], "LabelMatchers": "", "GroupBy": "instance"}
            for name, value in filling.items():
                expr = re.sub(rf"<<\s*\.{name}\s*>>", value, expr)
            yield Asked(f"{file.name}: {series[place]}", re.sub(r"{\s*,", "{", re.sub(r",\s*}", "}", expr)))


def _unquoted(text: str) -> str:
    """A template may quote with back-ticks inside its own braces."""
    text = re.sub(r"{{-?\s*`|`\s*-?}}", "", text.strip())
    return str(yaml.safe_load(text)) if text[:1] in "'\"" else text


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
        yield expr.name
    for part in ("lhs", "rhs", "expr", "vector_selector"):
        if (inner := getattr(expr, part, None)) is not None:
            yield from _names(inner)
    for argument in getattr(expr, "args", None) or ():
        yield from _names(argument)

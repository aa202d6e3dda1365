"""Writes rows as a dashboard of Grafana, by Grafana's own library, which knows its schema."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import TypeAlias

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as shapes
from grafana_foundation_sdk.models import dashboard as models

from deploy.observability.parts import Panel, Query, Row

SOURCE = models.DataSourceRef(type_val="prometheus", uid="$datasource")
HEIGHT = 8
STAT_HEIGHT = 4

Drawn: TypeAlias = timeseries.Panel | stat.Panel


def write(title: str, uid: str, says: str, rows: Sequence[Row]) -> str:
    """Returns the dashboard as JSON, always the same for the same rows."""
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(says)
        .tags(["sightline"])
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .time("now-1h", "now")
        .refresh("30s")
        .timezone("browser")
        .with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
        .with_variable(_places("namespace", "Namespace", "sightline_build_info"))
        .with_variable(_places("release", "Release", 'sightline_build_info{namespace=~"$namespace"}'))
    )
    ids = itertools.count(1)
    for row in rows:
        built.with_row(dashboard.Row(row.title).id(next(ids)))
        for panel in row.panels:
            built.with_panel(_panel(panel, next(ids)))
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def _places(name: str, label: str, among: str) -> dashboard.QueryVariable:
    """All of them at first, which is also right where Prometheus knows of none."""
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({among}, {name})")
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text="All", value="$__all"))
    )


def _panel(panel: Panel, number: int) -> Drawn:
    drawn = _number() if panel.kind == "stat" else _lines(panel)
    drawn.id(number).title(panel.title).description(panel.says).unit(panel.unit).datasource(SOURCE)
    drawn.span(panel.width).height(STAT_HEIGHT if panel.kind == "stat" else HEIGHT)
    for place, query in enumerate(panel.queries):
        drawn.with_target(_target(query, "ABCDEFGH"[place], instant=panel.kind == "stat"))
    if panel.least is not None:
        drawn.min(panel.least)
    if panel.most is not None:
        drawn.max(panel.most)
    drawn.thresholds(_thresholds(panel))
    return drawn


def _number() -> stat.Panel:
    return (
        stat.Panel()
        .graph_mode(shapes.BigValueGraphMode.NONE)
        .color_mode(shapes.BigValueColorMode.VALUE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _lines(panel: Panel) -> timeseries.Panel:
    drawn = (
        timeseries.Panel()
        .line_width(1)
        .fill_opacity(25 if panel.stacked else 5)
        .show_points(shapes.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(shapes.LegendDisplayMode.LIST)
            .placement(shapes.LegendPlacement.BOTTOM)
        )
        .tooltip(common.VizTooltipOptions().mode(shapes.TooltipDisplayMode.MULTI).sort(shapes.SortOrder.DESCENDING))
    )
    if panel.stacked:
        drawn.stacking(common.StackingConfig().mode(shapes.StackingMode.NORMAL))
    if panel.lines:
        drawn.thresholds_style(common.GraphThresholdsStyleConfig().mode(shapes.GraphThresholdsStyleMode.DASHED))
    return drawn


def _thresholds(panel: Panel) -> dashboard.ThresholdsConfig:
    below = "red" if panel.kind == "stat" and panel.lines else "green"
    steps = [models.Threshold(value=None, color=below)]
    steps += [models.Threshold(value=value, color=colour) for value, colour in sorted(panel.lines)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, name: str, *, instant: bool) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(name).datasource(SOURCE)
    return target.instant() if instant else target.range()

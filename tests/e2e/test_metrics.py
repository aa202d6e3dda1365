"""Short samples of the bars `metrics` and `panels`: the same checks over the shared cluster, which nobody hurts."""

from __future__ import annotations

import asyncio
import re
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from benchmarks import metrics, panels
from benchmarks.drawing import Span, draw, rows_of
from benchmarks.prometheus import CHART, Prometheus, complaints, promtool
from benchmarks.proof import Proof
from benchmarks.watched import Asked, all_asked, of_dashboards, of_rules, recorded
from deploy.observability.alerts import alerts
from deploy.observability.foreign import FOREIGN
from services.local import probes
from services.local.cluster import LocalCluster
from sightline import Client

CHECKOUT = Path(__file__).resolve().parents[2]
SECONDS = 0.5
ANSWERED = "increase(sightline_gateway_questions_total{code='OK'}[20s])"


def test_rules_are_sound_and_their_tests_pass() -> None:
    """promtool is content with the chart's rules, and each alert is silent and fires as its tests say."""
    proof = Proof()
    metrics.check_files(proof)
    assert proof.faults == []


def test_every_alert_is_tested_and_has_a_runbook() -> None:
    """Each alert's name stands in the tests of the rules, and its link leads to a heading of the page for operators."""
    tested = (CHECKOUT / "tests" / "rules" / "alerts.yaml").read_text(encoding="utf-8")
    headings = re.findall(r"^### (\w+)$", (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8"), re.M)
    names = {alert.name for alert in alerts()}
    assert names == set(headings)
    assert {name for name in names if tested.count(f"alertname: {name}\n") == 0} == set()


def test_a_comparison_is_taken_off_and_nothing_else() -> None:
    """Of `a > 1 and b < 2` the two queries are left; of one that only compares inside, the whole."""
    assert Asked("", "a > 1 and (rate(b[5m]) < 2)").bare == ["a", "rate(b[5m])"]
    assert Asked("", "(count(a) or vector(0)) < 1").bare == ["count(a)"]
    assert Asked("", "sum(a) / sum(b)").metrics == {"a", "b"}


def test_other_exporters_are_named_where_they_are_asked_for() -> None:
    """Every exception stands in a dashboard or a rule; a query that names none is about metrics of ours."""
    asked = [*of_dashboards("1m"), *of_rules()]
    named = {name for one in asked for name in one.metrics}
    assert named >= FOREIGN.keys()
    ours = named - FOREIGN.keys() - recorded()
    assert {name for name in ours if not name.startswith(("sightline_", "process_", "python_"))} == set()


async def test_a_real_prometheus_has_what_is_asked_for(cluster: LocalCluster, tmp_path: Path) -> None:
    """Of a cluster that only a few questions were put to, Prometheus knows every metric that is asked for, finds its
    names right, evaluates the rules, and draws panels with lines."""
    with Prometheus(tmp_path, cluster, seconds=SECONDS) as prometheus:
        began = time.time()
        async with Client(cluster.gateway) as client:
            while not any(one.samples[0][1] > 5 for one in await asyncio.to_thread(prometheus.ask, ANSWERED)):
                await client.search(f"a red apple {time.time()}", top_k=3)
                await asyncio.sleep(0.05)
        named = {name for one in all_asked() for name in one.metrics} - FOREIGN.keys() - recorded()
        # Those of callers' keys, of the page and of faults are not of this cluster.
        missing = {one for one in named - prometheus.scraped() if not re.match("sightline_(web|caller|refused)_", one)}
        assert missing == set()
        row = rows_of(CHART / "dashboards" / "sightline.json")[0]
        for _ in range(30):  # rules follow what they are made of by some evaluations
            picture = Image.open(BytesIO(draw(row, prometheus, Span(began, time.time(), 1.0, "5s"))))
            if min(row.lines.values()) >= 1:
                break
            await asyncio.sleep(SECONDS)
        assert picture.size == (24 * 60, 12 * 30)
        assert min(row.lines.values()) >= 1, row.lines


def test_names_are_by_convention(cluster: LocalCluster) -> None:
    """promtool finds nothing to say of the metrics of any process, and says it of a name that is wrong."""
    for process in cluster.processes.values():
        if process.spec.role != "redis":
            assert complaints(probes.exposition(process.spec.health)) == []
    assert complaints(["# HELP a_seconds_total x", "# TYPE a_seconds_total gauge", "a_seconds_total 1"])


def test_promtool_is_there() -> None:
    """The tools of Prometheus that the rules are checked with can be run."""
    assert promtool("--version")[0] == 0


def test_dashboards_are_of_grafanas_schema(tmp_path: Path) -> None:
    """Grafana's own library reads the dashboards strictly, and refuses one with a field that it does not have."""
    if why := panels.no_checker():
        pytest.skip(why)
    dashboards, wrong = sorted((CHART / "dashboards").glob("*.json")), tmp_path / "wrong.json"
    wrong.write_text(dashboards[0].read_text(encoding="utf-8").replace('"legendFormat"', '"legend"'), encoding="utf-8")
    said = panels.schema_faults(*dashboards, wrong)
    assert "unexpected field 'legend'" in said
    assert [dashboard for dashboard in dashboards if str(dashboard) in said] == []

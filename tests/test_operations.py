"""docs/operations.md speaks of what there is."""

from __future__ import annotations

import ast
import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
PAGE = (CHECKOUT / "docs" / "operations.md").read_text(encoding="utf-8")
KINDS = {"Counter", "Gauge", "Histogram", "Summary"}


def exported() -> set[str]:
    """The names of all metrics that the services declare."""
    calls = [
        node
        for file in (CHECKOUT / "services").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS and node.args
    ]
    names = [call.args[0].value for call in calls if isinstance(call.args[0], ast.Constant)]
    return {name for name in names if isinstance(name, str)}


def test_every_metric_is_listed_and_every_listed_metric_exists() -> None:
    """The table of metrics has exactly those that processes export."""
    listed = re.findall(r"^\| `(sightline_\w+)` \|", PAGE, re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert set(listed) == exported()


def test_alerts_name_metrics_that_exist() -> None:
    """What the page says elsewhere of metrics is about those in its table."""
    named = set(re.findall(r"sightline_\w+?(?=_count|_sum|_bucket|\W)", PAGE))
    assert named <= exported()


def test_settings_of_the_pages_exist() -> None:
    """Every variable that the pages for operators name is one of docs/settings.md, or of the indexer."""
    settings = (CHECKOUT / "docs" / "settings.md").read_text(encoding="utf-8")
    pages = PAGE + (CHECKOUT / "docs" / "stores.md").read_text(encoding="utf-8")
    unknown = {name for name in re.findall(r"SIGHTLINE_[A-Z_]+", pages) if f"`{name}`" not in settings}
    assert unknown == set()


def test_links_of_the_pages_lead_somewhere() -> None:
    """Pages for operators link to pages that are there."""
    for name in ("operations.md", "stores.md"):
        text = (CHECKOUT / "docs" / name).read_text(encoding="utf-8")
        for target in re.findall(r"\]\(([^)#:]+)\)", text):
            assert (CHECKOUT / "docs" / target).exists(), (name, target)

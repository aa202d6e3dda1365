"""Writes rules as files of Prometheus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from deploy.observability.parts import Alert, Record

RUNBOOKS = "docs/operations.md"
HEAD = "# Written by `python -m deploy.observability`; do not edit.\n"


def recording(records: Sequence[Record]) -> str:
    """Returns the file of the recording rules."""
    return _file("sightline-records", [{"record": one.name, "expr": one.expr} for one in records])


def alerting(alerts: Sequence[Alert]) -> str:
    """Returns the file of the alerts."""
    return _file("sightline-alerts", [_alert(one) for one in alerts])


def runbook(alert: Alert) -> str:
    """Returns where it says what to do: a heading's address, as web pages of Markdown have it."""
    return f"{RUNBOOKS}#{alert.name.lower()}"


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasting,
        "labels": {"severity": alert.severity, **alert.labels},
        "annotations": {"summary": alert.summary, "runbook_url": runbook(alert)},
    }


def _file(name: str, rules: list[dict[str, Any]]) -> str:
    groups = {"groups": [{"name": name, "rules": rules}]}
    return HEAD + yaml.dump(groups, Dumper=_Readable, sort_keys=False, width=1000, allow_unicode=True)


class _Readable(yaml.SafeDumper):
    """Writes text of several lines as it reads."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Readable.add_representer(str, _text)

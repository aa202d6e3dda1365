"""Whose autoscalers there are: those of the chart's values, and those that scale every tier on its processor alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.scaling.hpa import Spec, Target, of_manifest

VALUES = Path(__file__).resolve().parents[2] / "deploy" / "helm" / "sightline" / "values.yaml"
TIERS = ("gateway", "encoder", "searcher")
CONCURRENCY, QUEUE_WAIT = "sightline_encoder_concurrency", "sightline_encoder_queue_wait_seconds"
TEXTS = "texts in work"
"""Of no metric that the chart uses: what concurrency would be if texts were counted, not the calls that carry them."""


def values(file: Path = VALUES) -> dict[str, Any]:
    """Reads the chart's values."""
    read: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
    return read


def defaults(given: Mapping[str, Any], **encoder: object) -> dict[str, Spec]:
    """Returns the autoscaler of each tier, as the chart makes it of its values; `encoder` are values to change."""
    return {tier: _spec(given, tier, encoder if tier == "encoder" else {}) for tier in TIERS}


def on_cpu(given: Mapping[str, Any], share: float | None = None) -> dict[str, Spec]:
    """Returns autoscalers with the same bounds, each on its processor alone and as fast as Kubernetes goes by itself.

    Args:
        given: the chart's values.
        share: the target, as a share of what is requested; the chart's own where none is given.
    """
    specs = {}
    for tier in TIERS:
        own = given[tier]["autoscaling"]
        target = {"type": "Utilization", "averageUtilization": round(100 * share) if share else own["cpu"]}
        metric = {"type": "Resource", "resource": {"name": "cpu", "target": target}}
        bounds = {"minReplicas": own["minReplicas"], "maxReplicas": own["maxReplicas"]}
        specs[tier] = of_manifest(bounds | {"metrics": [metric]})
    return specs


def by_texts(given: Mapping[str, Any], texts: float) -> dict[str, Spec]:
    """Returns the chart's autoscalers, with that of the encoder on so many texts in work instead of calls."""
    specs = defaults(given)
    wait = next(one for one in specs["encoder"].targets if one.metric == QUEUE_WAIT)
    return {**specs, "encoder": replace(specs["encoder"], targets=(Target(TEXTS, texts), wait))}


def _spec(given: Mapping[str, Any], tier: str, changed: Mapping[str, object]) -> Spec:
    own = {**given[tier]["autoscaling"], **changed}
    if own.get("signal", "cpu") == "concurrency":
        metrics = [_pods(CONCURRENCY, own["concurrency"]), _pods(QUEUE_WAIT, own["queueSeconds"])]
    else:
        target = {"type": "Utilization", "averageUtilization": own["cpu"]}
        metrics = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    behavior = _over(given["autoscaling"]["behavior"], own.get("behavior", {}))
    bounds = {"minReplicas": own["minReplicas"], "maxReplicas": own["maxReplicas"]}
    return of_manifest(bounds | {"metrics": metrics, "behavior": behavior})


def _pods(name: str, value: float) -> dict[str, Any]:
    target = {"type": "AverageValue", "averageValue": value}
    return {"type": "Pods", "pods": {"metric": {"name": name}, "target": target}}


def _over(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lays one map over another, key by key; lists are replaced."""
    both = {
        key: _over(base[key], one) if isinstance(one, Mapping) and isinstance(base.get(key), Mapping) else one
        for key, one in over.items()
    }
    return {**base, **both}

"""The HorizontalPodAutoscaler's algorithm, as documented and as its controller computes it (autoscaling/v2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

SYNC_SECONDS = 15.0
TOLERANCE = 0.1

Reading = float | None
"""What one pod's metric says; None of a pod that is ready and has none yet."""


@dataclass(frozen=True, slots=True)
class Policy:
    """At most so many pods, or so many per cent, in a period of seconds."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


@dataclass(frozen=True, slots=True)
class Rules:
    """How fast one direction may go: by the policy that allows most, after a window of seconds."""

    window: float
    policies: Sequence[Policy]
    select: Literal["Max", "Min", "Disabled"] = "Max"
    tolerance: float = TOLERANCE


# What Kubernetes does where nothing is said.
UP = Rules(0.0, (Policy("Pods", 4, 15.0), Policy("Percent", 100, 15.0)))
DOWN = Rules(300.0, (Policy("Percent", 100, 15.0),))


@dataclass(frozen=True, slots=True)
class Target:
    """What a metric should be on the average pod: `cpu` as a share of its request, others in their own unit."""

    metric: str
    value: float


@dataclass(frozen=True, slots=True)
class Spec:
    """One autoscaler."""

    least: int
    most: int
    targets: Sequence[Target]
    up: Rules = UP
    down: Rules = DOWN


def of_manifest(spec: Mapping[str, Any]) -> Spec:
    """Reads the `spec` of an object of autoscaling/v2. Raises ValueError where a metric has a type unknown here."""
    behavior = spec.get("behavior", {})
    return Spec(
        least=spec.get("minReplicas", 1),
        most=spec["maxReplicas"],
        targets=tuple(_target(one) for one in spec["metrics"]),
        up=_rules(behavior.get("scaleUp", {}), UP),
        down=_rules(behavior.get("scaleDown", {}), DOWN),
    )


def _target(metric: Mapping[str, Any]) -> Target:
    kind = metric["type"]
    if kind == "Resource" and metric["resource"]["name"] == "cpu":
        return Target("cpu", metric["resource"]["target"]["averageUtilization"] / 100)
    if kind in ("Pods", "External"):
        described = metric[kind.lower()]
        return Target(described["metric"]["name"], quantity(described["target"]["averageValue"]))
    raise ValueError(f"no model of a metric of type {kind}")


def quantity(text: str | float) -> float:
    """Reads Kubernetes' quantities: `8`, `1500m`, `2k`."""
    text = str(text)
    scale = {"m": 1e-3, "k": 1e3, "M": 1e6}.get(text[-1])
    return float(text[:-1]) * scale if scale else float(text)


def _rules(given: Mapping[str, Any], default: Rules) -> Rules:
    policies = [Policy(one["type"], one["value"], one["periodSeconds"]) for one in given.get("policies", [])]
    return Rules(
        window=given.get("stabilizationWindowSeconds", default.window),
        policies=policies or default.policies,
        select=given.get("selectPolicy", "Max"),
        tolerance=quantity(given.get("tolerance", TOLERANCE)),
    )


@dataclass(slots=True)
class Autoscaler:
    """Remembers what it recommended and did."""

    spec: Spec
    _recommended: list[tuple[float, int]] = field(default_factory=list)
    _changes: list[tuple[float, int]] = field(default_factory=list)

    def decide(self, now: float, pods: int, unready: int, readings: Mapping[str, Sequence[Reading]]) -> int:
        """Returns how many pods there should be.

        Args:
            now: seconds; calls come SYNC_SECONDS apart.
            pods: how many there are, of which so many are `unready`.
            readings: of each metric, what the pods that are ready say.
        """
        wanted = max(self._by(target, pods, unready, readings[target.metric]) for target in self.spec.targets)
        wanted = self._stabilised(now, pods, wanted)
        wanted = min(max(self._limited(now, pods, wanted), self.spec.least), self.spec.most)
        if wanted != pods:
            self._changes.append((now, wanted - pods))
        return wanted

    def _by(self, target: Target, pods: int, unready: int, readings: Sequence[Reading]) -> int:
        """One metric's wish. Pods without a reading count as idle where more are wished, as on target where fewer."""
        known = [one for one in readings if one is not None]
        if not known:
            return pods
        ratio = sum(known) / len(known) / target.value
        missing = len(readings) - len(known)
        counted_unready = unready if ratio > 1 else 0
        if not missing and not counted_unready:
            return pods if self._tolerated(ratio) else math.ceil(ratio * len(known) - 1e-9)
        # A pod that is silent about its processor is taken to use all that it asked for.
        filled = 0.0 if ratio > 1 else max(1.0, target.value) if target.metric == "cpu" else target.value
        counted = len(known) + missing + counted_unready
        anew = (sum(known) + filled * missing) / counted / target.value
        wanted = math.ceil(anew * counted - 1e-9)
        turned = (ratio - 1) * (anew - 1) < 0 or (anew - 1) * (wanted - pods) < 0
        return pods if self._tolerated(anew) or turned else wanted

    def _tolerated(self, ratio: float) -> bool:
        return 1 - self.spec.down.tolerance <= ratio <= 1 + self.spec.up.tolerance

    def _stabilised(self, now: float, pods: int, wanted: int) -> int:
        """Not more than was wished all the time in the window for going up, nor fewer than in that for going down."""
        self._recommended.append((now, wanted))
        longest = max(self.spec.up.window, self.spec.down.window)
        self._recommended = [one for one in self._recommended if one[0] > now - longest or one[0] == now]
        up = min(count for at, count in self._recommended if at > now - self.spec.up.window or at == now)
        down = max(count for at, count in self._recommended if at > now - self.spec.down.window or at == now)
        return max(min(pods, down), up) if up > pods else min(pods, down)

    def _limited(self, now: float, pods: int, wanted: int) -> int:
        if wanted == pods:
            return pods
        going_up = wanted > pods
        rules = self.spec.up if going_up else self.spec.down
        if rules.select == "Disabled":
            return pods
        furthest = max if (rules.select == "Max") == going_up else min
        limit = furthest(self._limit(now, pods, policy, going_up) for policy in rules.policies)
        # What was done before under other rules is not undone.
        return min(wanted, max(limit, pods)) if going_up else max(wanted, min(limit, pods))

    def _limit(self, now: float, pods: int, policy: Policy, going_up: bool) -> int:
        began_with = pods - sum(change for at, change in self._changes if at > now - policy.period)
        sign = 1 if going_up else -1
        if policy.kind == "Pods":
            return began_with + sign * policy.value
        limit = began_with * (1 + sign * policy.value / 100)
        return math.ceil(limit - 1e-9) if going_up else int(limit)

"""A cluster under traffic, second by second: its tiers, what is seen of them, and what their autoscalers do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from benchmarks.scaling.hpa import SYNC_SECONDS, Autoscaler, Reading, Spec
from benchmarks.scaling.metrics import SCRAPE_SECONDS, Counters
from benchmarks.scaling.service import Second, Service, second
from benchmarks.scaling.settings import CONCURRENCY, QUEUE_WAIT, TEXTS
from benchmarks.scaling.traffic import Traffic

OBJECTIVE = 0.2
"""Seconds within which 99 of 100 calls are to be answered."""

LANES = 2
"""Calls that a gateway has in flight to one encoder at the most; each carries all texts that queued meanwhile."""

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Workload:
    """What is asked of a cluster, and how its tiers answer.

    Attributes:
        services: of one replica of each tier.
        missed: the share of calls that no cache answers: all of them cost the gateway, only these the others.
        hit: what a call that a cache answers costs of one that it does not, at the gateway.
    """

    services: Mapping[str, Service]
    missed: float = 0.7
    hit: float = 0.4


@dataclass(frozen=True, slots=True)
class Course:
    """What happened, for every second.

    Attributes:
        traffic: calls that came.
        pods: by tier, those that are ready.
        wished: by tier, those that there are or should be.
        tail: the 99th percentile of latency, in seconds: the sum over the tiers, which is a little too much.
        refused: share of the calls for which there was no room.
    """

    traffic: Series
    pods: Mapping[str, Series]
    wished: Mapping[str, Series]
    tail: Series
    refused: Series

    @property
    def minutes_above(self) -> float:
        """Minutes in which the latency objective was not met."""
        return float(((self.tail > OBJECTIVE) | (self.refused > 0)).sum() / 60)

    @property
    def calls_above(self) -> float:
        """Share of the calls that came in such seconds."""
        above = (self.tail > OBJECTIVE) | (self.refused > 0)
        return float(self.traffic[above].sum() / self.traffic.sum())

    @property
    def calls_refused(self) -> float:
        """Share of the calls that were refused because a queue was full."""
        return float((self.refused * self.traffic).sum() / self.traffic.sum())

    def replica_hours(self, tier: str) -> float:
        """Hours that pods of a tier were there, ready or not."""
        return float(self.wished[tier].sum() / 3600)


@dataclass(slots=True)
class _Tier:
    """Pods by the second in which each is ready, and what they do."""

    service: Service
    autoscaler: Autoscaler
    ready: list[float]
    counters: Counters = field(default_factory=Counters)
    backlog: float = 0.0

    def up(self, now: float) -> int:
        return max(1, sum(at <= now for at in self.ready))

    def answer(self, now: float, calls: float, gateways: int) -> Second:
        pods = self.up(now)
        was = second(self.service, calls / pods, self.backlog / pods)
        self.backlog = was.backlog * pods
        seen = min(was.concurrency, LANES * gateways) if gateways else was.concurrency
        # A queue beyond the lanes is the gateways'; what the encoder sees wait is at most what they may have sent.
        waited = min(was.wait, LANES * gateways * self.service.most / self.service.rate) if gateways else was.wait
        texts = min(was.concurrency, LANES * gateways * self.service.most) if gateways else was.concurrency
        self.counters.add(seen, waited, 1.0, was.cpu, texts)
        return was

    def scale(self, now: float) -> None:
        there = [at for at in self.ready if at <= now]
        readings = {one.metric: self._readings(one.metric, now, there) for one in self.autoscaler.spec.targets}
        wanted = self.autoscaler.decide(now, len(self.ready), len(self.ready) - len(there), readings)
        # Those that are not ready yet, and the youngest, go first.
        self.ready = sorted(self.ready)[:wanted]
        self.ready += [now + self.service.start] * (wanted - len(self.ready))

    def _readings(self, metric: str, now: float, there: list[float]) -> list[Reading]:
        if metric == "cpu":
            return [self.counters.cpu(at) for at in there]
        which = {CONCURRENCY: 0, QUEUE_WAIT: 1, TEXTS: 4}[metric]
        rates = [self.counters.rate(which, now, at) for at in there]
        if metric != QUEUE_WAIT:
            return rates
        # The mean wait is a rate by a rate: what a new pod's rate lacks cancels out.
        batches = [self.counters.rate(2, now, at) for at in there]
        return [one / many if one is not None and many else one for one, many in zip(rates, batches, strict=True)]


def simulate(traffic: Traffic, workload: Workload, specs: Mapping[str, Spec]) -> Course:
    """Lets a cluster run that has settled at the traffic's beginning.

    Args:
        traffic: calls in each second.
        workload: what they cost.
        specs: the autoscaler of each tier.
    """
    tiers = {
        name: _Tier(service, Autoscaler(specs[name]), _settled(service, specs[name], traffic[0]))
        for name, service in workload.services.items()
    }
    pods, wished = ({name: np.zeros(len(traffic)) for name in tiers} for _ in range(2))
    tail, refused = np.zeros(len(traffic)), np.zeros(len(traffic))
    for place, calls in enumerate(traffic):
        now = float(place)
        gateways = tiers["gateway"].up(now)
        for name, tier in tiers.items():
            was = tier.answer(now, calls * _share(name, workload), gateways if name == "encoder" else 0)
            tail[place] += was.tail
            refused[place] = max(refused[place], was.refused)
            pods[name][place], wished[name][place] = tier.up(now), len(tier.ready)
        for tier in tiers.values():
            if not place % int(SCRAPE_SECONDS):
                tier.counters.scrape(now)
            # Some seconds after a scrape, as chance has it.
            if place % int(SYNC_SECONDS) == SYNC_SECONDS // 2:
                tier.scale(now)
    return Course(traffic, pods, wished, tail, refused)


def _share(tier: str, workload: Workload) -> float:
    """What of the calls a tier does: the gateway all, hits for less; the others what was missed."""
    return workload.missed + (workload.hit * (1 - workload.missed) if tier == "gateway" else 0.0)


def _settled(service: Service, spec: Spec, calls: float) -> list[float]:
    """The least number of pods that is busy for half of the time at most, ready long since."""
    pods = spec.least
    while pods < spec.most and second(service, calls / pods, 0.0).cpu > 0.5:
        pods += 1
    return [-1e6] * pods

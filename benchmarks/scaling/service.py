"""How a tier answers: batches form by themselves, and a batch of b takes a + b·c seconds.

An item waits for the batch that is away, then for its own. While it is away, λ·S(b) more arrive, which is the next
batch: so b = λ·S(b), from which b = λ·a / (1 - λ·c), until a batch holds all that it may.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

QUANTILE = 2.326
"""The standard normal's 99th percentile: a Poisson count of mean m seldom exceeds m + 2.326·√m."""


@dataclass(frozen=True, slots=True)
class Service:
    """One replica of a tier.

    Attributes:
        fixed: seconds that any batch takes.
        each: seconds that each item of it adds.
        most: items in a batch.
        capacity: items that may wait; more are refused.
        cpu_fixed: processor seconds of a batch, as a share of its request for a second.
        cpu_each: the same of each item.
        start: seconds from the wish for a pod until it is ready.
    """

    fixed: float
    each: float
    most: int = 64
    capacity: float = 1024.0
    cpu_fixed: float = 0.0
    cpu_each: float = 0.0
    start: float = 30.0

    @property
    def rate(self) -> float:
        """Items a second at the most."""
        return self.most / (self.fixed + self.most * self.each)


@dataclass(frozen=True, slots=True)
class Second:
    """What a second was like for a replica.

    Attributes:
        mean: seconds from arrival to answer; `tail` is the 99th percentile, `wait` what of the mean was waiting.
        cpu: use of the processor as a share of what was requested.
        concurrency: items waiting or being worked on.
        backlog: items that are left over because more came than can be done.
        refused: share of items for which there was no room.
    """

    mean: float
    tail: float
    wait: float
    cpu: float
    concurrency: float
    backlog: float
    refused: float


def second(service: Service, arrivals: float, backlog: float) -> Second:
    """Returns what a second is like.

    Args:
        service: of one replica.
        arrivals: items that come in this second.
        backlog: items that were left over before it.
    """
    done = min(service.rate, arrivals + backlog)
    left = backlog + arrivals - done
    refused = max(0.0, left - service.capacity)
    left -= refused
    items = batch(service, done)
    takes = service.fixed + items * service.each
    busy = min(1.0, done * takes / items)
    batches = done / items
    queued = (backlog + left) / 2 / service.rate
    # What comes while a batch is away goes next, all of it; where one goes at a time, a queue forms before (M/D/1).
    waiting = busy * takes / 2 / (max(1.0 - busy, 0.02) if service.most == 1 else 1.0)
    wait = waiting + queued
    longest = service.fixed + min(service.most, items + QUANTILE * math.sqrt(items) * (busy > 0.5)) * service.each
    return Second(
        mean=wait + takes,
        tail=longest + max((busy > 0.01) * longest, 2 * waiting) + queued,
        wait=wait,
        cpu=service.cpu_fixed * batches + service.cpu_each * done,
        concurrency=done * (wait + takes),
        backlog=left,
        refused=refused / arrivals if arrivals else 0.0,
    )


def batch(service: Service, rate: float) -> float:
    """Returns how many items a batch holds on average, at a rate that the replica can bear."""
    if rate * service.each >= 1:
        return float(service.most)
    return min(max(1.0, rate * service.fixed / (1 - rate * service.each)), float(service.most))

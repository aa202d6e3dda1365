"""What is seen of pods, and when: Prometheus' rates over a minute, and metrics-server's use of the processor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

SCRAPE_SECONDS = 15.0
RANGE_SECONDS = 60.0
Sums: TypeAlias = tuple[float, float, float, float, float]

KEPT = int(RANGE_SECONDS / SCRAPE_SECONDS) + 2


@dataclass(slots=True)
class Counters:
    """Sums since the start, of what each pod that was ready has done; all pods of a tier share its work evenly.

    Attributes:
        now: seconds of answering calls (their rate is the concurrency), of waiting, batches, processor seconds as a
            share of what was requested, and seconds of answering texts, many of which may be in a call.
    """

    now: Sums = (0.0, 0.0, 0.0, 0.0, 0.0)
    scraped: list[tuple[float, Sums]] = field(default_factory=list)

    def add(self, calls: float, waiting: float, batches: float, cpu: float, texts: float = 0.0) -> None:
        """Adds a second's work of one pod."""
        a, w, b, c, t = self.now
        self.now = (a + calls, w + waiting, b + batches, c + cpu, t + texts)

    def scrape(self, at: float) -> None:
        """Takes a sample, at the end of that second."""
        self.scraped = [*self.scraped[1 - KEPT :], (at, self.now)]

    def rate(self, which: int, now: float, ready: float) -> float | None:
        """Returns `rate(counter[1m])` of a pod that has been ready since then; None where it has no two samples.

        As Prometheus extrapolates: a pod that is new seems to do less than it does.
        """
        samples = [(at, value[which]) for at, value in self.scraped if at >= ready and at > now - RANGE_SECONDS]
        return extrapolated_rate(samples, now)

    def cpu(self, ready: float) -> float | None:
        """Returns a pod's use of the processor between the last two scrapes; None where it was not ready then."""
        if len(self.scraped) < 2 or self.scraped[-2][0] < ready:
            return None
        (began, before), (ended, after) = self.scraped[-2:]
        return (after[3] - before[3]) / (ended - began)


def extrapolated_rate(samples: Sequence[tuple[float, float]], now: float) -> float | None:
    """Prometheus' `rate` over the minute before `now` of samples (time, value) of a counter that was never reset."""
    if len(samples) < 2:
        return None
    (first, low), (last, high) = samples[0], samples[-1]
    sampled, step = last - first, (last - first) / (len(samples) - 1)
    to_start, to_end = first - (now - RANGE_SECONDS), now - last
    to_start = to_start if to_start < 1.1 * step else step / 2
    to_end = to_end if to_end < 1.1 * step else step / 2
    return (high - low) * (sampled + to_start + to_end) / sampled / RANGE_SECONDS

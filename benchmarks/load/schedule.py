"""When calls are due. The times are those that ghz aims at, so that two runs of a scenario send alike."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from benchmarks.load.scenario import Scenario


def due(scenario: Scenario) -> Iterator[float]:
    """Returns when each call of a scenario is due, in seconds from the start. Without a rate all are due at once."""
    times = _times(scenario)
    if scenario.duration:
        return itertools.takewhile(lambda at: at < scenario.duration, times)
    return itertools.islice(times, scenario.total)


def _times(scenario: Scenario) -> Iterator[float]:
    """The n-th call, from 1, is due when the rate's integral reaches n."""
    began, calls = 0.0, itertools.count(1)
    number, before = next(calls), 0.0
    for rate, lasts in _rates(scenario):
        if not rate:
            yield from itertools.repeat(0.0)
        while (at := began + (number - before) / rate) <= began + lasts + 1e-9:
            yield at
            number = next(calls)
        began, before = began + lasts, before + rate * lasts


def _rates(scenario: Scenario) -> Iterator[tuple[float, float]]:
    """Rates in calls a second and how long each lasts, in seconds; the last has no end."""
    if scenario.load_schedule == "const":
        yield float(scenario.rps), float("inf")
        return
    lasts = 1.0 if scenario.load_schedule == "line" else scenario.load_step_duration
    until, end, step = scenario.load_max_duration, scenario.load_end, scenario.load_step
    for count in itertools.count():
        rate = scenario.load_start + step * count
        ended = bool(until) and count * lasts >= until
        beyond = bool(end) and not until and (rate > end if step > 0 else rate < end)
        if ended or beyond or rate <= 0:
            last = end or scenario.load_start + step * int(until // lasts)
            if last > 0:
                yield float(last), float("inf")
            return
        yield float(rate), min(lasts, until - count * lasts) if until else lasts

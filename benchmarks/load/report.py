"""ghz's report as JSON: written of our runs, and read of either's."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.checking import Checks
from benchmarks.load.generator import Run
from benchmarks.load.scenario import Scenario
from benchmarks.load.schedule import due

PERCENTAGES = (10, 25, 50, 75, 90, 95, 99)
BUCKETS = 10
_NANO = 1e9


@dataclass(frozen=True, slots=True)
class Report:
    """One run, by whichever of the two. Times are in seconds; percentiles are of calls that were answered.

    Attributes:
        calls: how many ended.
        rate: calls a second, from the start to the end of the last.
        statuses: how many ended with each status.
        sent: latencies of the answered, from when each was sent.
        late: how much later than due each call was sent.
        scheduled: latencies of the answered, from when each was due.
        failed: latencies of those that ended with an error.
        checks: what came of their answers; None where nobody looked.
    """

    name: str
    calls: int
    seconds: float
    rate: float
    statuses: Mapping[str, int]
    errors: Mapping[str, int] = field(repr=False)
    sent: NDArray[np.float64] = field(repr=False)
    late: NDArray[np.float64] = field(repr=False)
    scheduled: NDArray[np.float64] = field(repr=False)
    failed: NDArray[np.float64] = field(repr=False)
    checks: Mapping[str, Any] | None = None

    def latency(self, percentage: float) -> float:
        """Returns a percentile of the answered, from the send; 0.0 where there are none."""
        return percentile(self.sent, percentage)


def write(run: Run, checks: Checks | None, file: Path) -> None:
    """Writes the report of a run."""
    file.write_text(json.dumps(as_json(run, checks), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def as_json(run: Run, checks: Checks | None = None) -> dict[str, Any]:
    """Returns ghz's report of a run, times in nanoseconds, with `checks` of our own beside the rest."""
    scenario = run.scenario
    seconds = np.array([call.ended - call.sent for call in run.calls])
    counts = np.array([scenario.count_errors or not call.error for call in run.calls], bool)
    counted = np.sort(seconds[counts])
    return {
        "name": scenario.name,
        "endReason": "cancel" if run.cancelled else "normal",
        "date": _timestamp(run.began_at + run.seconds),
        "options": _options(scenario),
        "count": len(run.calls),
        "total": _nanoseconds(run.seconds),
        "average": _nanoseconds(seconds.mean() if seconds.size else 0.0),
        "fastest": _nanoseconds(counted[0] if counted.size else 0.0),
        "slowest": _nanoseconds(counted[-1] if counted.size else 0.0),
        "rps": len(run.calls) / run.seconds,
        "errorDistribution": Counter(call.error for call in run.calls if call.error),
        "statusCodeDistribution": Counter(call.status for call in run.calls),
        "latencyDistribution": [
            {"percentage": one, "latency": _nanoseconds(percentile(counted, one))} for one in PERCENTAGES
        ],
        "histogram": _histogram(counted),
        "details": [
            {
                "timestamp": _timestamp(run.began_at + call.ended - run.began),
                "latency": _nanoseconds(call.ended - call.sent),
                "error": call.error,
                "status": call.status,
            }
            for call in run.calls
        ],
        "tags": dict(scenario.tags),
        "checks": {one.name: getattr(checks, one.name) for one in fields(checks)} if checks else None,
    }


def read(file: Path) -> Report:
    """Reads a report of ghz or of ours. Raises ValueError where it is none."""
    try:
        return of_json(json.loads(file.read_text(encoding="utf-8")))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{file} is no report of ghz in JSON: {error}") from error


def of_json(given: Mapping[str, Any]) -> Report:
    """Returns what a report of ghz or of ours says."""
    details = given["details"] or []
    latencies = np.array([one["latency"] / _NANO for one in details])
    ended = np.array([_epoch(one["timestamp"]) for one in details])
    answered = np.array([not one["error"] for one in details], bool)
    late = _lateness(ended - latencies, given["options"])
    return Report(
        name=given.get("name", ""),
        calls=given["count"],
        seconds=given["total"] / _NANO,
        rate=given["rps"],
        statuses=given["statusCodeDistribution"],
        errors=given["errorDistribution"],
        sent=latencies[answered],
        late=late,
        scheduled=(latencies + late)[answered],
        failed=latencies[~answered],
        checks=given.get("checks"),
    )


def percentile(values: NDArray[np.float64], percentage: float) -> float:
    """Returns the least of the values that so many per cent do not exceed; 0.0 where there are none."""
    return float(np.percentile(values, percentage, method="inverted_cdf")) if values.size else 0.0


def _lateness(sent: NDArray[np.float64], options: Mapping[str, Any]) -> NDArray[np.float64]:
    """How late each call was sent. The first counts as on time, since no report tells when its run began.

    The n-th to be sent is taken for the n-th that was due.
    """
    if not sent.size or not (options.get("rps") or options.get("load-schedule") in ("step", "line")):
        return np.zeros(len(sent))
    known = {name: one for name, one in options.items() if name == "rps" or name.startswith("load-")}
    known |= {name: known.get(name, 0) / _NANO for name in ("load-step-duration", "load-max-duration")}
    planned = np.array([*due(Scenario.model_validate({"data": {"": ""}, "total": len(sent)} | known))])
    late, order = np.empty(len(sent)), np.argsort(sent)
    late[order] = (sent[order] - sent[order[0]]) - (planned - planned[0])
    return np.maximum(late, 0.0)


def _options(scenario: Scenario) -> dict[str, Any]:
    """What ghz says of its options, under its names; durations in nanoseconds."""
    given = scenario.model_dump(by_alias=True, exclude={"name", "tags", "key", "metadata", "reflect_metadata"})
    durations = {"duration", "timeout", "load-step-duration", "load-max-duration", "stream-interval"}
    return {name: _nanoseconds(one) if name in durations else one for name, one in given.items()}


def _histogram(ascending: NDArray[np.float64]) -> list[dict[str, float]]:
    """Counts between marks at equal distances from the fastest to the slowest; each counts what is at most its mark."""
    if not ascending.size:
        return []
    marks = np.linspace(ascending[0], ascending[-1], BUCKETS + 1)
    upto = np.searchsorted(ascending, marks, side="right")
    upto[-1] = len(ascending)
    counts = np.diff(upto, prepend=0)
    return [
        {"mark": float(mark), "count": int(count), "frequency": int(count) / len(ascending)}
        for mark, count in zip(marks, counts, strict=True)
    ]


def _nanoseconds(seconds: float) -> int:
    return round(seconds * _NANO)


def _timestamp(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="microseconds")


def _epoch(timestamp: str) -> float:
    """Seconds since 1970 of RFC 3339 with up to nine digits of a second, of which a datetime keeps six."""
    return datetime.fromisoformat(timestamp).timestamp()

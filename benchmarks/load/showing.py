"""A report for people, ghz's or ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.load.report import Report, percentile

COLUMNS = (50.0, 90.0, 95.0, 99.0, 99.9, 100.0)
SHOWN = 5


def show(report: Report) -> str:
    """Returns a few lines that say what came of a run."""
    return "\n".join(_lines(report))


def _lines(report: Report) -> Iterator[str]:
    statuses = ", ".join(f"{name} {count:,}" for name, count in sorted(report.statuses.items()))
    took = f"{report.calls:,} calls in {report.seconds:.1f} s, {report.rate:.1f} a second"
    yield f"{report.name or 'load'}: {took}: {statuses}"
    yield "  " + "".join([f"{'ms':<34}", *(f"{_name(one):>9}" for one in COLUMNS)])
    yield _row("answered, from the send", report.sent)
    yield _row("answered, from when it was due", report.scheduled)
    if report.failed.size:
        yield _row("failed, from the send", report.failed)
    yield _row("how late it was sent", report.late)
    for error, count in sorted(report.errors.items(), key=lambda one: -one[1])[:SHOWN]:
        yield f"  {count:,} × {error}"
    if report.checks:
        yield from _checks(report.checks)


def _name(percentage: float) -> str:
    return "slowest" if percentage == 100 else f"p{percentage:g}"


def _row(name: str, seconds: NDArray[np.float64]) -> str:
    return "  " + "".join([f"{name:<34}", *(f"{1e3 * percentile(seconds, one):9.2f}" for one in COLUMNS)])


def _checks(checks: Mapping[str, Any]) -> Iterator[str]:
    caches = ", ".join(f"{name} {count:,}" for name, count in sorted(checks["caches"].items()))
    yield f"  {checks['answers']:,} answers, {checks['judged']:,} of them held against brute force; {caches}"
    yield f"  {checks['wrong']:,} wrong, {checks['partial']:,} partial"
    if checks["item_errors"] or checks["unanswered"]:
        reasons = ", ".join(f"{name} {count:,}" for name, count in sorted(checks["item_errors"].items()))
        yield f"  within batches and streams: errors: {reasons or 'none'}; {checks['unanswered']:,} without an answer"
    yield from (f"  WRONG {one}" for one in checks["first_wrong"])

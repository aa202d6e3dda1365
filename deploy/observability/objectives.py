"""What callers are promised, and how fast the budget of failures may burn.

Windows and rates are those of the SRE workbook, chapter 5: a page for what would use up two per cent of a month's
budget in an hour, or five in six hours; a ticket for ten in three days. The short window ends an alert soon after its
cause has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from deploy.observability.parts import Alert, Record
from deploy.observability.promql import EACH, WATCHED, watched

OURS = "UNAVAILABLE|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED|INTERNAL|UNKNOWN"
"""The codes that count against us. A question that is wrong in itself was answered as it should be."""

SECONDS = 0.2
"""An answer that takes longer is late; a bound of the histogram's buckets."""


@dataclass(frozen=True, slots=True)
class Objective:
    """A promise.

    Attributes:
        name: in names of alerts.
        rule: what its recording rules are called.
        kept: the share of questions that must be good.
        bad, all: how fast bad questions come, and all of them, given a window and what to look at.
        summary: what an alert says.
    """

    name: str
    rule: str
    kept: float
    bad: Callable[[str, str], str]
    all: Callable[[str, str], str]
    summary: str

    @property
    def budget(self) -> float:
        """The share that may be bad."""
        return round(1 - self.kept, 6)

    def recorded(self, window: str) -> str:
        """Returns the name of the rule that records the share of bad questions over a window."""
        return f"namespace_release:sightline_{self.rule}:ratio_rate{window}"

    def share(self, window: str, where: str = WATCHED) -> str:
        """Returns the share of bad questions over a window."""
        return f"{self.bad(window, where)} / {self.all(window, where)}"


def _rate(metric: str, window: str, *where: str) -> str:
    return f"sum by ({EACH}) (rate({metric}{{{', '.join(where)}}}[{window}]))"


def _failed(window: str, where: str) -> str:
    return _rate("sightline_gateway_questions_total", window, where, f'code=~"{OURS}"')


def _asked(window: str, where: str) -> str:
    return _rate("sightline_gateway_questions_total", window, where)


def _late(window: str, where: str) -> str:
    in_time = _rate("sightline_gateway_question_seconds_bucket", window, where, f'le="{SECONDS}"')
    return f"({_answered(window, where)} - {in_time})"


def _answered(window: str, where: str) -> str:
    return _rate("sightline_gateway_question_seconds_count", window, where)


ANSWERS = Objective(
    "ErrorBudgetBurn",
    "question_errors",
    0.999,
    _failed,
    _asked,
    "questions fail more than {rate:g} times as often as 99.9 % answered allows",
)
IN_TIME = Objective(
    "LatencyBudgetBurn",
    "questions_late",
    0.99,
    _late,
    _answered,
    "answers take more than 200 ms more than {rate:g} times as often as 99 % in time allows",
)
OBJECTIVES = (ANSWERS, IN_TIME)


@dataclass(frozen=True, slots=True)
class Burn:
    """How fast a budget may burn, over a long and a short window, before somebody is told."""

    rate: float
    long: str
    short: str
    lasting: str
    severity: Literal["page", "ticket"]


BURNS = (
    Burn(14.4, "1h", "5m", "2m", "page"),
    Burn(6.0, "6h", "30m", "15m", "page"),
    Burn(1.0, "3d", "6h", "1h", "ticket"),
)
WINDOWS = ("5m", "30m", "1h", "6h", "3d")


def records() -> list[Record]:
    """Returns the recording rules of all objectives and windows."""
    return [Record(one.recorded(window), one.share(window)) for one in OBJECTIVES for window in WINDOWS]


def alerts() -> list[Alert]:
    """Returns the burn-rate alerts."""
    return [_alert(objective, burn) for objective in OBJECTIVES for burn in BURNS]


def _alert(objective: Objective, burn: Burn) -> Alert:
    bound = f"({burn.rate:g} * {objective.budget:g})"
    over = [f"{watched(objective.recorded(window))} > {bound}" for window in (burn.long, burn.short)]
    return Alert(
        f"Sightline{objective.name}",
        "\nand\n".join(over),
        burn.lasting,
        burn.severity,
        objective.summary.format(rate=burn.rate),
        {"window": burn.long},
    )

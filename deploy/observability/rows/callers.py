"""What callers feel: objectives, and rate, errors and duration by service."""

from __future__ import annotations

from deploy.observability.objectives import ANSWERS, BURNS, IN_TIME, Objective
from deploy.observability.parts import Panel, Query, Row
from deploy.observability.promql import PICKED, picked, quantile, rate

MONTH = "30d"
QUESTIONS = "sightline_gateway_questions_total"
ANSWER_SECONDS = "sightline_gateway_question_seconds"


def _kept(one: Objective, title: str, says: str) -> Panel:
    expr = f"1 - ({one.share(MONTH, PICKED)})"
    return Panel(title, says, "percentunit", [Query(expr, title)], "stat", 4, lines=[(one.kept, "green")], least=None)


def _left(one: Objective, title: str, says: str) -> Panel:
    expr = f"1 - ({one.share(MONTH, PICKED)}) / {one.budget:g}"
    return Panel(title, says, "percentunit", [Query(expr, title)], "stat", 4, lines=[(0.0, "green")], least=None)


def _burn(one: Objective, title: str) -> Panel:
    says = "At 1 the budget is used up in 30 days. The bounds of the alerts are drawn across."
    windows = ("5m", "1h", "6h", "3d")
    queries = [Query(f"{picked(one.recorded(window))} / {one.budget:g}", f"over {window}") for window in windows]
    return Panel(title, says, "none", queries, width=12, lines=[(burn.rate, "red") for burn in BURNS])


OBJECTIVES = Row(
    "Objectives",
    [
        _kept(ANSWERS, "Answered", "Share of 30 days' questions that did not fail."),
        _left(ANSWERS, "Error budget left", "Of the 0.1 % of 30 days' questions that may fail."),
        _kept(IN_TIME, "In time", "Share of 30 days' answers that took at most 200 ms."),
        _left(IN_TIME, "Latency budget left", "Of the 1 % of 30 days' answers that may be late."),
        Panel(
            "Coverage",
            "Share of the shards asked that answered, lately. Below 100 % some answers are partial, and say so.",
            "percentunit",
            [
                Query(
                    f"{rate('sightline_gateway_shards_answered_total')} / "
                    f"{rate('sightline_gateway_shards_asked_total')}",
                    "coverage",
                )
            ],
            "stat",
            4,
            lines=[(1.0, "green")],
            least=None,
        ),
        Panel("Questions", "Single, in batches and on streams.", "reqps", [Query(rate(QUESTIONS), "asked")], "stat", 4),
        _burn(ANSWERS, "Burn rate of the error budget"),
        _burn(IN_TIME, "Burn rate of the latency budget"),
    ],
)

REQUESTS = Row(
    "Requests by service",
    [
        Panel(
            "Questions by code",
            "Everything that is searched for, whichever way it came. UNAVAILABLE, DEADLINE_EXCEEDED, "
            "RESOURCE_EXHAUSTED, INTERNAL and UNKNOWN count against the objective.",
            "reqps",
            [Query(rate(QUESTIONS, "code"), "{{code}}")],
            stacked=True,
        ),
        Panel(
            "Time to answer a question",
            "From its arrival at the gateway. 200 ms is the objective of 99 %.",
            "s",
            [Query(quantile(share, ANSWER_SECONDS), f"p{share * 100:g}") for share in (0.5, 0.95, 0.99)],
            lines=[(0.2, "red")],
        ),
        Panel(
            "Where the time goes",
            "95th percentile by stage of questions that were computed. Search includes the wait for a searcher.",
            "s",
            [Query(quantile(0.95, "sightline_gateway_stage_seconds", "stage"), "{{stage}}")],
        ),
        Panel(
            "Calls by method",
            "gRPC calls and streams that ended, at every service.",
            "reqps",
            [Query(rate("sightline_rpc_calls_total", "method"), "{{method}}")],
        ),
        Panel(
            "Calls that failed",
            "By method and code, at every service: the one nearest to the cause stands out.",
            "reqps",
            [
                Query(
                    rate("sightline_rpc_calls_total", "method", "code", where='code!="OK"') + " > 0",
                    "{{method}} {{code}}",
                )
            ],
        ),
        Panel(
            "Time to answer a call",
            "95th percentile by method; streams, which last, are not in it.",
            "s",
            [Query(quantile(0.95, "sightline_rpc_seconds", "method"), "{{method}}")],
        ),
        Panel(
            "HTTP requests by status",
            "At the web processes.",
            "reqps",
            [Query(rate("sightline_web_request_seconds_count", "status"), "{{status}}")],
            stacked=True,
        ),
        Panel(
            "Time to answer an HTTP request",
            "95th percentile by route.",
            "s",
            [Query(quantile(0.95, "sightline_web_request_seconds", "route"), "{{route}}")],
        ),
        Panel(
            "Calls by caller",
            "Where callers have keys: who asks how much. Refused are calls without a key that is known.",
            "reqps",
            [
                Query(rate("sightline_caller_calls_total", "caller"), "{{caller}}"),
                Query(rate("sightline_refused_total", "reason"), "refused: {{reason}}"),
            ],
        ),
    ],
)

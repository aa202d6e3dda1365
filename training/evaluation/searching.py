"""What is evaluated, as the evaluation sees it: something that answers queries, and can show its pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from training.evaluation.queries import Query

WARM_UP = tuple(Query(str(number), f"warming up {number}", {}) for number in range(20))
"""Asked before time is taken. Questions of its own: the answer of another would be remembered."""

Progress = Callable[[int, int], None]
"""Told how many are done, of how many."""


@dataclass(frozen=True, slots=True)
class Found:
    """The answer to one query.

    Attributes:
        ids: of the images found, best first: by score rounded to 1e-6, then by id.
        scores: cosines, -1 to 1, as many.
        ms: how long the caller waited; None where this query was not timed.
        error: why there is no answer; such a query counts as having found nothing.
    """

    ids: tuple[str, ...] = ()
    scores: tuple[float, ...] = ()
    ms: float | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """All answers, and how it went.

    Attributes:
        found: in the order of the queries.
        subject: what answered, for the report: its kind, its model, and where it is.
        pool: over how many images was ranked.
        queries_per_second: while all were asked.
        timing: how time was taken, in a sentence.
        counts: what else was counted, such as answers out of the cache.
    """

    found: tuple[Found, ...]
    subject: Mapping[str, Any]
    pool: int
    queries_per_second: float
    timing: str
    counts: Mapping[str, int] = field(default_factory=dict)


class Subject(Protocol):
    """Something to evaluate: training.evaluation.cluster.Cluster, training.evaluation.local.LocalModel."""

    def run(self, queries: Sequence[Query], depth: int, progress: Progress) -> Run:
        """Answers all queries with the best `depth` images each."""

    def pictures(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Small picture files by id, of those that there are."""

"""What a gateway counts beside what every process counts: questions, fan-out, coverage."""

from __future__ import annotations

import asyncio
import time
from collections import Counter as Tally
from collections.abc import Coroutine, Sequence
from typing import Any, Protocol

from prometheus_client import Counter, Gauge, Histogram

from services.gateway.answers import Answer, Reply, Source
from services.runtime.codes import NAMES
from services.runtime.metrics import SECONDS
from sightline.errors import SightlineError

questions_total = Counter(
    "sightline_gateway_questions_total", "Questions that ended: single, in batches, on streams.", ["code"]
)
question_seconds = Histogram("sightline_gateway_question_seconds", "Time to answer a question.", buckets=SECONDS)
joined_total = Counter("sightline_gateway_joined_questions_total", "Questions that were being answered already.")
stage_seconds = Histogram(
    "sightline_gateway_stage_seconds", "Time of one stage of answering a question.", ["stage"], buckets=SECONDS
)
shards_asked_total = Counter("sightline_gateway_shards_asked_total", "Shards that computed answers should cover.")
shards_answered_total = Counter("sightline_gateway_shards_answered_total", "Shards that they did cover.")
partial_answers_total = Counter(
    "sightline_gateway_partial_answers_total", "Computed answers that lack something, by what.", ["reason"]
)
group_seconds = Histogram(
    "sightline_gateway_group_seconds",
    "Time until a searcher group has answered a question.",
    ["group"],
    buckets=SECONDS,
)
group_failures_total = Counter(
    "sightline_gateway_group_failures_total", "Questions that a searcher group gave no answer to.", ["group"]
)
group_replicas = Gauge("sightline_gateway_group_replicas", "Searchers of a group that can be asked.", ["group"])
generation = Gauge("sightline_gateway_generation", "The generation that is answered from.", ["collection"])
generation_timestamp_seconds = Gauge(
    "sightline_gateway_generation_timestamp_seconds",
    "When this gateway began to answer from it, in seconds since 1970.",
    ["collection"],
)

_questions = {code: questions_total.labels(code) for code in NAMES.values()}
_stages = {stage: stage_seconds.labels(stage) for stage in ("cache", "encode", "search", "merge", "fetch")}
for _reason in ("SHARDS_MISSING", "IMAGES_MISSING"):
    partial_answers_total.labels(_reason)


async def counted(answering: Coroutine[Any, Any, Reply], deadline: float) -> Reply:
    """Answers a question, and counts what came of it and where its time went; `deadline` in `loop.time()` seconds."""
    began = time.perf_counter()
    code = "OK"
    try:
        reply = await answering
    except asyncio.CancelledError:
        # gRPC ends a call whose deadline has passed as if its caller had hung up.
        code = "CANCELLED" if asyncio.get_running_loop().time() < deadline - 0.005 else "DEADLINE_EXCEEDED"
        raise
    except Exception as error:
        code = NAMES[error.code] if isinstance(error, SightlineError) else "INTERNAL"
        raise
    finally:
        _questions[code].inc()
    question_seconds.observe(time.perf_counter() - began)
    _stages["cache"].observe(reply.times.cache)
    if reply.source is Source.MISS:
        for stage in ("encode", "search", "merge", "fetch"):
            _stages[stage].observe(getattr(reply.times, stage))
    elif reply.source is Source.JOINED:
        joined_total.inc()
    return reply


def covered(answer: Answer) -> None:
    """Counts what a computed answer covers."""
    shards_asked_total.inc(answer.shards_asked)
    shards_answered_total.inc(answer.shards_answered)
    for reason, _ in answer.degraded:
        partial_answers_total.labels(reason).inc()


class Placed(Protocol):
    """A searcher that has said where it belongs."""

    group: int
    groups: int


class GroupMetrics:
    """Counts what becomes of questions at each searcher group."""

    def __init__(self) -> None:
        self._groups: dict[int, tuple[Histogram, Counter]] = {}

    def reached(self, up: Sequence[Placed]) -> None:
        """Notes which searchers can be asked. A group of which there is none counts as long as others speak of it."""
        sizes = Tally(one.groups for one in up)
        groups = sizes.most_common(1)[0][0] if sizes else len(self._groups)
        for group in [one for one in self._groups if one >= groups]:
            del self._groups[group]
            group_replicas.remove(group)
        found = Tally(one.group for one in up)
        for group in range(groups):
            self._of(group)
            group_replicas.labels(group).set(found[group])

    def answered(self, group: int, seconds: float) -> None:
        """Counts a question that a group answered."""
        self._of(group)[0].observe(seconds)

    def failed(self, group: int) -> None:
        """Counts a question that it did not answer."""
        self._of(group)[1].inc()

    def _of(self, group: int) -> tuple[Histogram, Counter]:
        known = self._groups.get(group)
        if known is None:
            known = self._groups[group] = group_seconds.labels(group), group_failures_total.labels(group)
        return known


class GenerationMetrics:
    """Says which generation of each collection is answered from, and since when."""

    def __init__(self) -> None:
        self._current: dict[str, int] = {}

    def are(self, current: dict[str, int]) -> None:
        """Notes the generations that are current, by collection."""
        for collection in self._current.keys() - current.keys():
            generation.remove(collection)
            generation_timestamp_seconds.remove(collection)
        for collection, number in current.items():
            if self._current.get(collection) != number:
                generation.labels(collection).set(number)
                generation_timestamp_seconds.labels(collection).set_to_current_time()
        self._current = current

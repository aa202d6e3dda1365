"""What is counted: questions by what became of them, groups, generations, queues."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from prometheus_client import REGISTRY

from services.gateway.answers import Reply, Source, Times
from services.gateway.metrics import GenerationMetrics, GroupMetrics, counted
from services.runtime.batcher import Batcher
from services.runtime.codes import NAMES
from services.runtime.metrics import QueueMetrics, calls_of
from sightline.errors import ResourceExhausted, Unavailable

QUESTIONS = "sightline_gateway_questions_total"


def sample(name: str, **labels: str) -> float | None:
    return REGISTRY.get_sample_value(name, labels)


def codes() -> dict[str, float]:
    return {code: sample(QUESTIONS, code=code) or 0.0 for code in NAMES.values()}


async def answered() -> Reply:
    return Reply(b"", Source.MISS, Times(encode=0.1))


async def failed() -> Reply:
    raise Unavailable("nobody is there")


async def endless() -> Reply:
    await asyncio.Event().wait()
    raise AssertionError


def test_every_code_is_there_from_the_start() -> None:
    """Counters by code are at 0 before anything has happened, so that their first event is seen as one."""
    calls_of("/a.Service/Method")
    assert {sample("sightline_rpc_calls_total", method="/a.Service/Method", code=code) for code in NAMES.values()} == {
        0
    }
    assert None not in {sample(QUESTIONS, code=code) for code in NAMES.values()}


async def test_a_question_counts_by_what_became_of_it() -> None:
    """One that is answered counts as OK with its time, one that fails by the code of its error."""
    before, timed = codes(), sample("sightline_gateway_question_seconds_count") or 0.0
    await counted(answered(), asyncio.get_running_loop().time() + 9)
    with pytest.raises(Unavailable):
        await counted(failed(), asyncio.get_running_loop().time() + 9)
    assert {code: count - before[code] for code, count in codes().items() if count > before[code]} == {
        "OK": 1,
        "UNAVAILABLE": 1,
    }
    assert sample("sightline_gateway_question_seconds_count") == timed + 1


@pytest.mark.parametrize(("seconds", "code"), [(9.0, "CANCELLED"), (0.01, "DEADLINE_EXCEEDED")])
async def test_who_hung_up_is_told_from_who_waited_in_vain(seconds: float, code: str) -> None:
    """A question that is cut off counts as cancelled before its deadline, and against us from then on."""
    before = codes()
    asking = asyncio.create_task(counted(endless(), asyncio.get_running_loop().time() + seconds))
    await asyncio.sleep(0.03)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert codes()[code] == before[code] + 1


@dataclass
class Place:
    """A searcher's place."""

    group: int
    groups: int


def replicas() -> list[float | None]:
    return [sample("sightline_gateway_group_replicas", group=str(group)) for group in range(3)]


def test_a_group_of_which_there_is_nobody_counts_as_0() -> None:
    """A group is known from what others say, and as long as nobody says otherwise; one that was given up is gone."""
    groups = GroupMetrics()
    groups.reached([Place(0, 3), Place(0, 3), Place(2, 3)])
    assert replicas() == [2, 0, 1]
    groups.reached([])
    assert replicas() == [0, 0, 0]
    groups.reached([Place(0, 1)])
    assert replicas() == [1, None, None]


def test_a_generation_has_a_number_and_an_age() -> None:
    """Each collection says its generation, and since when; the time changes with the number and not else."""
    generations = GenerationMetrics()

    def said() -> tuple[float | None, float | None]:
        names = ("sightline_gateway_generation", "sightline_gateway_generation_timestamp_seconds")
        return sample(names[0], collection="c"), sample(names[1], collection="c")

    generations.are({"c": 3})
    first = said()
    generations.are({"c": 3})
    assert said() == first
    generations.are({"c": 4})
    assert said()[0] == 4
    generations.are({})
    assert said() == (None, None)


async def test_queues_of_a_name_are_counted_together() -> None:
    """What waits is counted over all queues of a name that are still there, and what a full one refuses."""

    async def run(batch: Sequence[int]) -> Sequence[int | Exception]:
        await asyncio.Event().wait()
        return batch

    def queue() -> Batcher[int, int]:
        return Batcher(run, name="q", capacity=1, max_weight=1, observer=QueueMetrics("counted"))

    async def fill(batcher: Batcher[int, int]) -> list[asyncio.Task[int]]:
        first = asyncio.create_task(batcher.submit(1))
        await asyncio.sleep(0.01)
        second = asyncio.create_task(batcher.submit(2))
        await asyncio.sleep(0.01)
        return [first, second]

    one, other = queue(), queue()
    asking = [*await fill(one), *await fill(other)]
    assert sample("sightline_queue_items", queue="counted") == 2
    with pytest.raises(ResourceExhausted):
        await one.submit(3)
    assert sample("sightline_queue_refused_total", queue="counted") == 1
    one.fail_all(Unavailable("gone"))
    other.fail_all(Unavailable("gone"))
    await asyncio.gather(*asking, return_exceptions=True)
    del one, other
    gc.collect()
    assert sample("sightline_queue_items", queue="counted") == 0

"""Processes that are killed and processes that hang, under traffic: what callers see of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence

from benchmarks.proof import Proof
from benchmarks.stage import Stage, until
from benchmarks.traffic import TIMEOUT, Call, Tally
from sightline import CacheState, Unavailable
from sightline.errors import SightlineError

BURST = 60
"""Calls that are asked for shortly before a process is lost, beside the rest; some are still in flight then."""

UNDER_WAY = 0.02
"""Seconds after which calls have left their callers, and most are not answered yet."""

AT_ONCE = 1.0
"""Seconds, where a deadline is several."""

KILLED, HUNG = "killed", "hung"


async def one_of_two(stage: Stage, proof: Proof, name: str, how: str) -> None:
    """One of two replicas is lost: nobody notices. It comes back, and works again."""
    case = f"{name} {how}"
    async with stage.traffic() as traffic:
        await asyncio.sleep(1)
        traffic.burst(BURST)
        await asyncio.sleep(UNDER_WAY)
        expect_in_flight(proof, case, traffic.in_flight)
        await _lose(stage, how, name)
        # One that hangs does so for longer than deadlines, or it could answer in the end itself.
        await asyncio.sleep(stage.seconds if how == KILLED else max(stage.seconds, TIMEOUT + 1))
        await stage.restore(name)
        before = await asyncio.to_thread(stage.work, name)
        back = await until(lambda: stage.work(name) > before)
    proof.figures[f"{case}: seconds until it works again"] = round(back, 2)
    expect_whole(proof, case, await stage.judged(traffic.calls))


async def group_lost(stage: Stage, proof: Proof) -> None:
    """All replicas of a group are killed: partial answers that say so, or UNAVAILABLE where these are refused; then
    whole answers again."""
    lost = sorted(name for name in stage.cluster.processes if name.startswith("searcher-0-"))
    kinds = ("vector", "text", "many")
    async with stage.traffic(*kinds) as welcome, stage.traffic(*kinds, refuse_partial=True) as refused:
        await asyncio.sleep(1)
        gone = time.monotonic()
        await stage.kill(*lost)
        without = time.monotonic()
        await asyncio.sleep(stage.seconds)
        returning = time.monotonic()
        await stage.restore(*lost)
        back = await _whole_again(lambda: [*welcome.calls, *refused.calls])
        await asyncio.sleep(1)
    proof.figures["group killed: seconds from its return to whole answers"] = round(back - returning, 2)
    proof.expect("group killed: errors where partial is welcome", _errors(welcome.calls), {})
    proof.expect("group killed: wrong answers", await _wrong(stage, [*welcome.calls, *refused.calls]), [])
    during = await stage.judged(_between(welcome.calls, without, returning))
    proof.figures["group killed: meanwhile"] = during.figures()
    proof.holds("group killed: meanwhile all are partial", during.calls > 0 and during.partial == during.calls)
    denied = _between(refused.calls, without, returning)
    proof.expect(
        "group killed: meanwhile, where partial is refused",
        _errors(denied),
        {"Unavailable SHARDS_MISSING": len(denied)},
    )
    around = [call for call in [*welcome.calls, *refused.calls] if call.began + call.seconds < gone]
    after = [call for call in [*welcome.calls, *refused.calls] if call.began > back]
    expect_whole(proof, "group killed: before", await stage.judged(around))
    expect_whole(proof, "group killed: after its return", await stage.judged(after))


async def encoders_lost(stage: Stage, proof: Proof) -> None:
    """All encoders are killed: texts are UNAVAILABLE, everything else is answered; then texts are again."""
    lost = sorted(name for name in stage.cluster.processes if name.startswith("encoder-"))
    async with stage.traffic("text") as texts, stage.traffic("vector", "id") as others:
        await asyncio.sleep(1)
        await stage.kill(*lost)
        without = time.monotonic()
        await asyncio.sleep(stage.seconds)
        returning = time.monotonic()
        await stage.restore(*lost)
        back = await _whole_again(lambda: texts.calls)
        await asyncio.sleep(1)
    proof.figures["encoders killed: seconds from their return to answers"] = round(back - returning, 2)
    expect_whole(proof, "encoders killed: all but texts", await stage.judged(others.calls))
    failures = [call.outcome for call in texts.calls if isinstance(call.outcome, SightlineError)]
    proof.holds("encoders killed: texts are UNAVAILABLE", all(isinstance(one, Unavailable) for one in failures))
    denied = _between(texts.calls, without, returning)
    proof.figures["encoders killed: meanwhile"] = _errors(denied)
    proof.expect("encoders killed: texts answered meanwhile", len(denied) - sum(_errors(denied).values()), 0)
    proof.holds("encoders killed: callers are told at once", _slowest(denied) < AT_ONCE)
    after = [call for call in texts.calls if call.began > back]
    expect_whole(proof, "encoders killed: texts after their return", await stage.judged(after))


async def redis_lost(stage: Stage, proof: Proof, how: str) -> None:
    """Redis is lost: nobody notices. It comes back, and has answers again."""
    case = f"redis {how}"
    async with stage.traffic("again", "text") as traffic:
        await asyncio.sleep(1)
        await _lose(stage, how, "redis")
        await asyncio.sleep(stage.seconds)
        await stage.restore("redis")
        returned = time.monotonic()
        back = await until(lambda: any(_shared(call) and call.began > returned for call in traffic.calls))
    proof.figures[f"{case}: seconds until it has answers again"] = round(back, 2)
    expect_whole(proof, case, await stage.judged(traffic.calls))


async def _lose(stage: Stage, how: str, name: str) -> None:
    if how == KILLED:
        await stage.kill(name)
    else:
        stage.cluster.stop(name)


def expect_in_flight(proof: Proof, case: str, calls: int) -> None:
    """Notes how many calls are in flight as a process is lost or told to stop, and a fault where there are none."""
    proof.figures[f"{case}: in flight at that moment"] = calls
    proof.holds(f"{case}: some are in flight", calls > 0)


def expect_whole(proof: Proof, case: str, tally: Tally) -> None:
    """Notes what came of calls, and a fault where any was not answered completely and rightly."""
    proof.figures[case] = tally.figures()
    if not tally.whole:
        proof.faults.append(
            f"{case}: {tally} {dict(tally.errors)} {tally.first_error} {tally.first_partial} {tally.wrong[:2]}"
        )


def _slowest(calls: Sequence[Call]) -> float:
    return max((call.seconds for call in calls), default=0.0)


def _shared(call: Call) -> bool:
    return not isinstance(call.outcome, SightlineError) and call.outcome.cache == CacheState.HIT_SHARED


def _errors(calls: Sequence[Call]) -> dict[str, int]:
    tally = Tally()
    tally.errors.update(
        f"{type(call.outcome).__name__} {call.outcome.reason}"
        for call in calls
        if isinstance(call.outcome, SightlineError)
    )
    return dict(tally.errors)


async def _wrong(stage: Stage, calls: Sequence[Call]) -> list[str]:
    return (await stage.judged(calls)).wrong[:5]


def _between(calls: Sequence[Call], first: float, last: float) -> list[Call]:
    """Those that began after `first` and were over before `last`."""
    return [call for call in calls if first <= call.began and call.began + call.seconds <= last]


async def _whole_again(calls: Callable[[], Sequence[Call]], streak: int = 30) -> float:
    """Waits until the last calls were answered completely, all of them; returns when the first of these began."""

    def whole() -> bool:
        last = sorted(calls(), key=lambda call: call.began)[-streak:]
        return all(not isinstance(one.outcome, SightlineError) and one.outcome.coverage.complete for one in last)

    await until(whole)
    return min(call.began for call in sorted(calls(), key=lambda call: call.began)[-streak:])

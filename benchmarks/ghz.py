"""ghz and our own generator, which checks each answer, measure the same of the demonstration's cluster.

They take turns with each scenario of benchmarks/ghz, at half of what the cluster can do at the most.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.emoji import CHECKOUT, MODEL, draw, index_into
from benchmarks.load import report
from benchmarks.load.checking import Checks, check, oracle_at
from benchmarks.load.generator import Run, generate
from benchmarks.load.report import Report
from benchmarks.load.scenario import Scenario, read
from benchmarks.oracle import Oracle
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster

GHZ = ("github.com/bojand/ghz/cmd/ghz", "v0.93.0")
FOLDER = CHECKOUT / "benchmarks" / "ghz"
ROUNDS = 9
CALLS = {"miss": 400, "hit": 600, "zipf": 400, "batch": 60, "stream": 60, "steps": 300, "errors": 400}
SOONER = {"steps": {"load_step_duration": "2s"}}
CALLERS = 8
TIMEOUT = "30s"
"""Longer than any call takes: what is late is to be seen as late, not as an error."""

CAPACITY_CALLS = {"batch": 100, "stream": 100}

RATES_AGREE = 0.02
LATENCIES_AGREE = 0.15


@dataclass(slots=True)
class Sides:
    """What both saw of a scenario, round by round."""

    rate: float
    capacity: float
    ghz: list[Report] = field(default_factory=list)
    ours: list[Report] = field(default_factory=list)
    checks: list[Checks] = field(default_factory=list)


def bar() -> dict[str, object]:
    """The demonstration's cluster, and each scenario in nine rounds."""
    proof = Proof()
    with TemporaryDirectory() as name, demonstration(Path(name)) as cluster:
        seen = measure(cluster.gateway, program(), draw(), Path(name))
    for scenario, sides in seen.items():
        judge(scenario, sides, proof)
    worst = max(abs(one - 1) for sides in seen.values() for one in ratios(sides).values())
    answers = sum(one.answers for sides in seen.values() for one in sides.checks)
    return proof.outcome(
        f"{len(seen)} scenarios, {ROUNDS} rounds each, at half of the cluster's capacity or less: rates, median p50 "
        f"and p95 of ghz and of ours are within {100 * worst:.1f} % of each other, errors equal to the last; "
        f"{answers:,} answers checked, none wrong"
    )


def program() -> Path:
    """Returns ghz, built where it is not there yet. Raises RuntimeError where it cannot be."""
    return Path(_output([str(CHECKOUT / "tools" / "go_tool.sh"), *GHZ]).strip())


def kept() -> bool:
    """Whether ghz has been built before, so that it needs no Go."""
    cache = Path(os.environ.get("SIGHTLINE_CACHE") or Path.home() / ".cache" / "sightline")
    return (cache / "go" / f"ghz-{GHZ[1]}" / "ghz").exists()


@contextmanager
def demonstration(folder: Path) -> Iterator[LocalCluster]:
    """The demonstration's cluster over its 1,840 pictures."""
    with LocalCluster(store=str(folder / "store"), model=str(MODEL), run_dir=folder / "run") as cluster:
        index_into(cluster, draw())
        yield cluster


def measure(
    gateway: str, ghz: Path, pictures: Path, folder: Path, *, rounds: int = ROUNDS, calls: Mapping[str, int] = CALLS
) -> dict[str, Sides]:
    """Runs scenarios by both, in turn.

    Args:
        gateway: host:port.
        ghz: its program.
        pictures: the list of what is indexed.
        folder: for what ghz reads and writes.
        rounds: of both.
        calls: how many of each scenario.
    """
    seen, oracle = {}, oracle_at(read(FOLDER / "miss.json", host=gateway), pictures)
    for name, total in calls.items():
        scenario = read(FOLDER / f"{name}.json", host=gateway, total=total, timeout=TIMEOUT, **SOONER.get(name, {}))
        # What it asks again and again is in the caches before anything is measured.
        capacity = _capacity(scenario, min(total, 2 * len(scenario.messages)))
        scenario = _at_half(scenario, capacity)
        seen[name] = sides = Sides(scenario.rps or scenario.load_end, capacity)
        for number in range(rounds):
            # A B, then B A: what drifts over the rounds meets both alike.
            for side in ("ghz", "ours") if number % 2 else ("ours", "ghz"):
                if side == "ghz":
                    sides.ghz.append(_by_ghz(ghz, scenario, folder))
                else:
                    _by_us(scenario, oracle, sides)
            print(f"{name}, round {number + 1}: {_told(sides)}", flush=True)
    return seen


def judge(name: str, sides: Sides, proof: Proof) -> None:
    """Notes what both saw, and where they differ."""
    proof.figures[name] = {
        "calls a second": sides.rate,
        "capacity in calls a second": round(sides.capacity, 1),
        "ours over ghz": {what: round(one, 4) for what, one in ratios(sides).items()},
        "ghz": [_figures(one) for one in sides.ghz],
        "ours": [_figures(one) for one in sides.ours],
        "answers": sum(one.answers for one in sides.checks),
        "held against brute force": sum(one.judged for one in sides.checks),
    }
    for what, ratio in ratios(sides).items():
        within = RATES_AGREE if what == "rate" else LATENCIES_AGREE
        if not 1 - within <= ratio <= 1 + within:
            proof.faults.append(f"{name}: {what} is {ratio:.3f} times that of ghz")
    statuses = [dict(one.statuses) for one in (*sides.ghz, *sides.ours)]
    proof.expect(f"{name}: both end with the same statuses in all rounds", statuses, statuses[:1] * len(statuses))
    proof.holds(f"{name}: at half load or less", sides.rate <= sides.capacity / 2)
    proof.expect(f"{name}: wrong answers", sum(one.wrong + one.unanswered for one in sides.checks), 0)
    proof.expect(f"{name}: partial answers", sum(one.partial for one in sides.checks), 0)
    if name == "errors":
        proof.holds("errors: calls do fail", min(one.failed.size for one in (*sides.ghz, *sides.ours)) > 0)


def ratios(sides: Sides) -> dict[str, float]:
    """Returns our medians over the rounds, as multiples of ghz's: of calls a second, and of p50 and p95 of answers."""
    rate = median(one.rate for one in sides.ours) / median(one.rate for one in sides.ghz)
    latency = {
        f"p{which}": median(one.latency(which) for one in sides.ours) / median(one.latency(which) for one in sides.ghz)
        for which in (50, 95)
    }
    return {"rate": rate, **latency}


def _capacity(scenario: Scenario, warm_up: int) -> float:
    """Calls a second of callers who each wait for their answer."""
    closed = {"async_": False, "concurrency": CALLERS, "rps": 0, "load_schedule": "const"}
    generate(scenario.model_copy(update=closed | {"total": warm_up}))
    total = CAPACITY_CALLS.get(scenario.name, 400)
    run = generate(scenario.model_copy(update=closed | {"total": total}))
    return len(run.calls) / run.seconds


def _at_half(scenario: Scenario, capacity: float) -> Scenario:
    """As it is where the cluster can do twice as much, else slower; of steps, the last is what counts."""
    half = int(capacity / 2)
    if scenario.load_schedule == "const":
        return scenario.model_copy(update={"rps": max(1, min(scenario.rps, half))})
    step = max(1, min(scenario.load_step, half // 5))
    return scenario.model_copy(update={"load_start": step, "load_step": step, "load_end": 5 * step})


def _by_us(scenario: Scenario, oracle: Oracle, sides: Sides) -> None:
    run = generate(scenario)
    sides.checks.append(check(run, oracle))
    sides.ours.append(_through_json(run))


def _through_json(run: Run) -> Report:
    """Ours, read as ghz's is."""
    return report.of_json(json.loads(json.dumps(report.as_json(run))))


def _by_ghz(ghz: Path, scenario: Scenario, folder: Path) -> Report:
    """The same scenario, as a configuration of ghz; what both know by name, ghz reads as we do."""
    asked, said = folder / "asked.json", folder / "said.json"
    asked.write_text(json.dumps(_configuration(scenario)), encoding="utf-8")
    _output([str(ghz), "--config", str(asked), "--format", "json", "--output", str(said)])
    return report.read(said)


def _configuration(scenario: Scenario) -> dict[str, Any]:
    given = scenario.model_dump(by_alias=True, exclude_defaults=True)
    durations = {"timeout", "duration", "load-step-duration", "load-max-duration", "stream-interval"}
    return {name: f"{one}s" if name in durations else one for name, one in given.items()} | {"call": scenario.call}


def _figures(one: Report) -> dict[str, float]:
    return {
        "rate": round(one.rate, 3),
        "p50 ms": round(1e3 * one.latency(50), 3),
        "p95 ms": round(1e3 * one.latency(95), 3),
        "failed": int(one.failed.size),
    }


def _told(sides: Sides) -> str:
    return f"ghz {_figures(sides.ghz[-1])}, ours {_figures(sides.ours[-1])}, {sides.checks[-1].wrong} wrong"


def _output(command: list[str]) -> str:
    done = subprocess.run(command, cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}")
    return done.stdout

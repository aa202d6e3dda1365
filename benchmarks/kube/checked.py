"""Steady load from a pod, every answer of which is checked against brute force."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from benchmarks.emoji import COLLECTION
from benchmarks.kube import caller
from benchmarks.kube.cluster import KubeError, until
from benchmarks.kube.place import PROGRAMS
from benchmarks.oracle import Oracle, Vectors, unit
from sightline import CacheState, Coverage, Degradation, Hit, Image, Model, SearchResult, StageTimes

ENDLESS = 10_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked for.

    Attributes:
        texts: words.
        ids: of pictures.
        dimension: of vectors.
        first: number of the first question; each number is another one.
    """

    texts: Sequence[str]
    ids: Sequence[str]
    dimension: int
    first: int = 0


@dataclass(slots=True)
class Load:
    """What has been asked so far, and what came of it.

    Attributes:
        calls: what the program in the pod tells of each over gRPC, in the order in which they were over.
        http: the same of those over HTTP.
        asked: how many there were of both; -1 until all are over.
        vectors: of the texts, unit, float64 [n, d].
    """

    order: Mapping[str, Any]
    calls: list[dict[str, Any]] = field(default_factory=list)
    http: list[dict[str, Any]] = field(default_factory=list)
    asked: int = -1
    vectors: Vectors = field(default_factory=lambda: np.zeros((0, 0)))

    def since(self, began: float, until: float = float("inf")) -> Load:
        """Returns the part that was begun in between, by `time.time()`."""
        return self.only(lambda moment: began <= moment < until)

    def only(self, wanted: Callable[[float], bool]) -> Load:
        """Returns the part that was begun at moments that are wanted."""
        calls, http = ([one for one in told if wanted(one["began"])] for told in (self.calls, self.http))
        return replace(self, calls=calls, http=http)


@dataclass(slots=True)
class Verdict:
    """What came of calls."""

    calls: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    partial: int = 0
    wrong: list[str] = field(default_factory=list)
    computed: int = 0
    slowest: float = 0.0
    generations: Counter[int] = field(default_factory=Counter)
    first_error: str = ""
    first_partial: str = ""

    @property
    def whole(self) -> bool:
        """Whether every call was answered, completely and rightly."""
        return self.calls > 0 and not self.errors and not self.partial and not self.wrong

    def figures(self) -> dict[str, object]:
        """Returns what is written down."""
        return {
            "calls": self.calls,
            "errors": dict(self.errors),
            "first_error": self.first_error,
            "partial": self.partial,
            "first_partial": self.first_partial,
            "wrong": len(self.wrong),
            "first_wrong": self.wrong[:3],
            "computed": self.computed,
            "slowest_seconds": round(self.slowest, 3),
            "generations": {str(one): count for one, count in sorted(self.generations.items())},
        }


@contextmanager
def load(
    python: Sequence[str], address: str, asked: Asked, *, rate: float, calls: int = ENDLESS, http: str = ""
) -> Iterator[Load]:
    """Asks so many times a second, until the end of the block or until so many calls are asked.

    Args:
        python: the command that runs Python where it is to be asked from; it has the SDK there.
        address: of the gateways, as seen from there.
        asked: what is asked for.
        rate: calls a second, whatever comes of them.
        calls: how many.
        http: URL of the page's Service, which is asked over HTTP at a tenth of the rate; not asked where it is empty.

    Raises:
        KubeError: the program failed.
    """
    order = asdict(asked) | {
        "address": address,
        "collection": COLLECTION,
        "rate": rate,
        "calls": calls,
        "timeout": 10.0,
        "http": http,
    }
    source = (PROGRAMS / "caller.py").read_text(encoding="utf-8")
    program = subprocess.Popen(
        [*python, "-c", source], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert program.stdin
    assert program.stdout
    program.stdin.write(json.dumps(order) + "\n")
    program.stdin.flush()
    running = Load(order)
    reading = threading.Thread(target=_read, args=(running, program.stdout), daemon=True)
    reading.start()
    try:
        until(lambda: len(running.calls) > 0 or program.poll() is not None, "the first answer", 60, every=0.1)
        yield running
        if calls < ENDLESS:
            reading.join(calls / rate + 120)
    finally:
        if program.poll() is None:
            program.stdin.write("end\n")
            program.stdin.close()
        reading.join(60)
        program.wait(60)
    if running.asked < 0:
        assert program.stderr
        raise KubeError(f"the program ended: {program.stderr.read()[-2000:]}")


def _read(running: Load, lines: Any) -> None:
    for line in lines:
        told = json.loads(line)
        if "vectors" in told:
            rows = np.frombuffer(base64.b64decode(told["vectors"]), "<f4")
            running.vectors = unit(rows.reshape(len(running.order["texts"]), -1))
        elif "asked" in told:
            running.asked = told["asked"]
        else:
            (running.http if told["number"] >= caller.FIRST_OVER_HTTP else running.calls).append(told)


def judge(running: Load, oracles: Mapping[int, Oracle], calls: Sequence[dict[str, Any]] | None = None) -> Verdict:
    """Judges calls, or all of them over gRPC, by brute force over the generation that each answer names."""
    verdict = Verdict()
    for call in running.calls if calls is None else calls:
        verdict.calls += 1
        verdict.slowest = max(verdict.slowest, call["seconds"])
        if error := call.get("error"):
            verdict.errors[error.split(":")[0]] += 1
            verdict.first_error = verdict.first_error or f"{_moment(call)} {error}"
            continue
        verdict.generations[call["generation"]] += 1
        verdict.computed += call["cache"] == CacheState.MISS
        asked, answered = call["shards"]
        if call["degraded"] or asked != answered:
            verdict.partial += 1
            told = f"{_moment(call)} after {call['seconds']} s: {answered} of {asked} shards, {call['degraded']}"
            verdict.first_partial = verdict.first_partial or told
        else:
            verdict.wrong += _faults(running, oracles, call)
    return verdict


def _moment(call: Mapping[str, Any]) -> str:
    return time.strftime("%T", time.gmtime(call["began"]))


def _faults(running: Load, oracles: Mapping[int, Oracle], call: Mapping[str, Any]) -> Sequence[str]:
    oracle = oracles.get(call["generation"])
    if oracle is None:
        return [f"generation {call['generation']} was never published"]
    kind, asked, top_k = caller.question(call["number"], dict(running.order))
    if kind == "vector":
        exact = unit(asked)
    elif kind == "id":
        exact = oracle.vector(asked)
    else:
        exact = running.vectors[running.order["texts"].index(asked)]
    faults = oracle.judge(_result(call), exact, top_k).faults
    return [f"question {call['number']} ({kind}): {fault}" for fault in faults]


def _result(call: Mapping[str, Any]) -> SearchResult:
    hits = [
        Hit(one, score, Image("" if call["images"] else one))
        for one, score in zip(call["ids"], call["scores"], strict=True)
    ]
    asked, answered = call["shards"]
    degraded = tuple(Degradation(reason, "") for reason in call["degraded"])
    return SearchResult(
        tuple(hits),
        Coverage(asked, answered, call["matched"], images_matched=call["matched"]),
        degraded,
        Model("", "", 0),
        call["generation"],
        CacheState(call["cache"]),
        "",
        StageTimes(),
    )

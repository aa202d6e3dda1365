"""Puts load on gateways, from a process of its own, so that a measurement never counts its callers.

It reads orders from its input, one JSON object a line, and answers each with one line of JSON.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Self, TextIO, TypeAlias

import grpc
import numpy as np

from sightline.v1 import common_pb2, search_pb2

TIMEOUT = 30.0

Ask: TypeAlias = "grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]"


@dataclass(frozen=True, slots=True)
class Order:
    """What to ask.

    Attributes:
        gateways: host:port of each. The callers ask the first; where there are several, one caller asks each query of
            each, one after the other, in an order that alternates.
        queries: how many.
        callers: how many ask at a time.
        dimension: of random vectors to ask with; texts where it is 0.
        distinct: so many texts again and again, which caches have; each text is another where it is 0.
    """

    gateways: Sequence[str]
    queries: int
    callers: int = 1
    dimension: int = 0
    distinct: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What came of it: seconds in all, and for each gateway the seconds that each query took. A failure is raised."""

    seconds: float
    latencies: list[list[float]] = field(default_factory=list)


class Load:
    """The process; started by `with`.

    Args:
        texts: what is asked, each time with a number of its own after it, so that no two queries are the same.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, order: Order) -> Report:
        """Does what is ordered. Raises RuntimeError where any query fails."""
        return Report(**json.loads(self._exchange(json.dumps(asdict(order)))))

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "benchmarks.callers"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._exchange(json.dumps(self._texts))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            self._process.wait()

    def _exchange(self, line: str) -> str:
        assert self._process, "started by `with`"
        orders, answers = self._process.stdin, self._process.stdout
        assert orders
        assert answers
        orders.write(line + "\n")
        orders.flush()
        answer = answers.readline()
        if not answer:
            raise RuntimeError("a query failed, or the load itself; see above")
        return answer


def questions(texts: Sequence[str], dimension: int, distinct: int = 0) -> Iterator[bytes]:
    """Serialised requests without end; no two the same, or so many texts in turn."""
    drawn = np.random.default_rng(os.getpid())
    for count in itertools.count():
        number = count % distinct if distinct else count
        if dimension:
            vector = common_pb2.Vector(values=drawn.standard_normal(dimension).astype("<f4").tobytes())
            query = search_pb2.Query(vector=vector)
        else:
            query = search_pb2.Query(text=f"{texts[number % len(texts)]} {number}")
        yield search_pb2.SearchRequest(query=query).SerializeToString()


async def work(orders: TextIO, answers: TextIO) -> None:
    """Answers orders until there are no more."""
    texts: list[str] = json.loads(orders.readline())
    print(json.dumps(len(texts)), file=answers, flush=True)
    sources: dict[tuple[int, int], Iterator[bytes]] = {}
    stubs: dict[str, Ask] = {}
    for line in orders:
        order = Order(**json.loads(line))
        kind = (order.dimension, order.distinct)
        source = sources.setdefault(kind, questions(texts, *kind))
        asks = [stubs[one] if one in stubs else stubs.setdefault(one, _connect(one)) for one in order.gateways]
        began = time.perf_counter()
        latencies = await (_together(asks[0], source, order) if len(asks) == 1 else _in_turn(asks, source, order))
        print(json.dumps(asdict(Report(time.perf_counter() - began, latencies))), file=answers, flush=True)


def _connect(gateway: str) -> Ask:
    # Bytes in, bytes out: a caller that does no work of its own can keep a gateway busy.
    channel = grpc.aio.insecure_channel(gateway)
    return channel.unary_unary("/sightline.v1.SearchService/Search")


async def _together(ask: Ask, source: Iterator[bytes], order: Order) -> list[list[float]]:
    asked = itertools.islice(source, order.queries)

    async def caller() -> list[float]:
        return [await _timed(ask, question) for question in asked]

    return [[one for of_caller in await asyncio.gather(*(caller() for _ in range(order.callers))) for one in of_caller]]


async def _in_turn(asks: Sequence[Ask], source: Iterator[bytes], order: Order) -> list[list[float]]:
    latencies: list[list[float]] = [[] for _ in asks]
    for number, question in enumerate(itertools.islice(source, order.queries)):
        turn = range(len(asks)) if number % 2 else reversed(range(len(asks)))
        for place in turn:
            latencies[place].append(await _timed(asks[place], question))
    return latencies


async def _timed(ask: Ask, question: bytes) -> float:
    began = time.perf_counter()
    await ask(question, timeout=TIMEOUT)
    return time.perf_counter() - began


if __name__ == "__main__":
    asyncio.run(work(sys.stdin, sys.stdout))

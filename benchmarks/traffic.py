"""Light traffic that goes on whatever happens: so many questions a second, each answer kept and judged afterwards."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self, TypeAlias

import grpc
import numpy as np

from benchmarks.oracle import Vectors, unit
from benchmarks.stamped import COLLECTION, Stamped
from sightline import CacheState, Client, ImageId, SearchRequest, SearchResult
from sightline.errors import SightlineError
from sightline.queries import as_query
from sightline.stream import SearchStream

RATE = 30.0
TIMEOUT = 5.0
VECTORS = ("vector", "many")
_SERIES = itertools.count(1)
_EMBEDDED_TOGETHER = 128
_WORDS = ("red apple", "红苹果", "a cat that laughs", "manzana verde", "дом у моря", "雨の日の傘", "two hearts")


Asked: TypeAlias = Client | SearchStream


class Unretried(Client):
    """A client that gives up at the first failure, so that it hides none."""

    @property
    def _channel(self) -> grpc.aio.Channel:
        options = [("grpc.enable_retries", 0), ("grpc.max_receive_message_length", -1)]
        self._opened = self._opened or grpc.aio.insecure_channel(self._address, options=options)
        return self._opened


@dataclass(frozen=True, slots=True)
class Call:
    """One question, when it was asked, how long it took, and what came of it."""

    request: SearchRequest
    began: float
    seconds: float
    outcome: SearchResult | SightlineError


@dataclass(slots=True)
class Tally:
    """What came of all calls."""

    calls: int = 0
    complete: int = 0
    partial: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    first_error: str = ""
    first_partial: str = ""
    wrong: list[str] = field(default_factory=list)
    generations: Counter[int] = field(default_factory=Counter)
    caches: Counter[str] = field(default_factory=Counter)
    slowest: float = 0.0

    @property
    def whole(self) -> bool:
        """Whether every call was answered, completely and rightly."""
        return self.calls > 0 and self.complete == self.calls and not self.wrong

    def __str__(self) -> str:
        parts = [f"{self.calls} calls", f"{sum(self.errors.values())} errors", f"{self.partial} partial"]
        return ", ".join([*parts, f"{len(self.wrong)} wrong", f"slowest {self.slowest:.2f} s"])

    def figures(self) -> dict[str, object]:
        """Returns what is written down."""
        return {
            "calls": self.calls,
            "complete": self.complete,
            "partial": self.partial,
            "computed": self.caches[CacheState.MISS],
            "errors": dict(self.errors),
            "first_error": self.first_error,
            "first_partial": self.first_partial,
            "wrong": len(self.wrong),
            "first_wrong": self.wrong[:5],
            "slowest_seconds": round(self.slowest, 3),
        }


class Traffic:
    """Asks from its `async with` to the end of it. No call waits for another: what hangs does not slow down the rest.

    Args:
        clients: asked in turn; a stream is asked like a client.
        questions: without end.
        rate: questions a second.
        timeout: seconds that each has.

    Attributes:
        asked: how many questions.
        calls: what came of those that are over.
    """

    def __init__(
        self,
        clients: Sequence[Asked],
        questions: Iterator[SearchRequest],
        *,
        rate: float = RATE,
        timeout: float = TIMEOUT,
    ) -> None:
        self._clients, self._questions = itertools.cycle(clients), questions
        self._rate, self._timeout = rate, timeout
        self._asking: set[asyncio.Task[None]] = set()
        self._ticking: asyncio.Task[None] | None = None
        self.asked = 0
        self.calls: list[Call] = []

    async def __aenter__(self) -> Self:
        self._ticking = asyncio.create_task(self._tick())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        if self._ticking:
            self._ticking.cancel()
        while self._asking:
            await asyncio.wait(self._asking)

    @property
    def in_flight(self) -> int:
        """How many questions have been asked and are not over."""
        return self.asked - len(self.calls)

    def burst(self, count: int) -> None:
        """Asks so many at once, beside the rest."""
        for _ in range(count):
            self._ask()

    async def _tick(self) -> None:
        began = time.monotonic()
        for number in itertools.count():
            await asyncio.sleep(began + number / self._rate - time.monotonic())
            self._ask()

    def _ask(self) -> None:
        self.asked += 1
        task = asyncio.create_task(self._keep(next(self._clients), next(self._questions)))
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    async def _keep(self, client: Asked, request: SearchRequest) -> None:
        self.calls.append(await timed(client, request, self._timeout))


async def timed(client: Asked, request: SearchRequest, timeout: float = TIMEOUT) -> Call:
    """Asks one question."""
    began = time.monotonic()
    outcome = await ask(client, request, timeout)
    return Call(request, began, time.monotonic() - began, outcome)


async def ask(client: Asked, request: SearchRequest, timeout: float) -> SearchResult | SightlineError:
    """Asks one question; returns the answer, or the error instead of raising it."""
    try:
        return await client.search(
            request.query,
            collection=request.collection,
            top_k=request.top_k,
            refuse_partial=request.refuse_partial,
            timeout=timeout,
        )
    except SightlineError as error:
        return error


def questions(
    corpus: Stamped, kinds: Sequence[str] = ("vector", "text", "id", "many"), *, refuse_partial: bool = False
) -> Iterator[SearchRequest]:
    """Questions without end, of each kind in turn: `vector`, `text`, `id`, `many`, whose hits are too many for their
    documents to come with them, and `again`, of which there are ten. Other kinds hardly ever come twice, so that no
    cache has their answers."""
    series = next(_SERIES)
    chance, drawn = random.Random(series), np.random.default_rng(series)
    for number in itertools.count():
        kind = kinds[number % len(kinds)]
        vector = drawn.standard_normal(corpus.model.dimension).astype(np.float32)
        text = f"{_WORDS[number % len(_WORDS)]} {series} {number}"
        identifiers = corpus.ids()[:10] if kind == "again" else corpus.ids()
        query = text if kind == "text" else vector if kind in VECTORS else ImageId(chance.choice(identifiers))
        top_k = 10 if kind == "again" else chance.randint(1, 32) + 32 * (kind == "many")
        yield SearchRequest(query, collection=COLLECTION, top_k=top_k, refuse_partial=refuse_partial)


async def judged(calls: Sequence[Call], corpus: Stamped, client: Client | None = None) -> Tally:
    """Judges every answer.

    Args:
        calls: what was asked.
        corpus: of what.
        client: embeds the texts that were asked for, where there are any.
    """
    tally = Tally(calls=len(calls))
    texts = {call.request.query: None for call in calls if isinstance(call.request.query, str)}
    vectors = dict(zip(texts, await _embedded(client, [*texts]), strict=True)) if client and texts else {}
    for call in calls:
        tally.slowest = max(tally.slowest, call.seconds)
        if isinstance(call.outcome, SightlineError):
            tally.errors[f"{type(call.outcome).__name__} {call.outcome.reason}"] += 1
            tally.first_error = tally.first_error or str(call.outcome)
            continue
        tally.generations[call.outcome.generation] += 1
        tally.caches[call.outcome.cache] += 1
        if call.outcome.degraded or not call.outcome.coverage.complete:
            tally.partial += 1
            tally.first_partial = tally.first_partial or str(call.outcome.degraded)
        else:
            tally.complete += 1
        tally.wrong += _faults(call.request, call.outcome, corpus, vectors)
    return tally


def _faults(request: SearchRequest, result: SearchResult, corpus: Stamped, vectors: dict[str, Vectors]) -> list[str]:
    if result.generation not in corpus.oracles:
        return [f"generation {result.generation} was never built"]
    if ("SHARDS_MISSING" in {one.reason for one in result.degraded}) == result.coverage.complete:
        return [f"{result.coverage} and {result.degraded} disagree"]
    match request.query:
        case str(text):
            exact = vectors[text]
        case ImageId(identifier):
            exact = corpus.vector(result.generation, identifier)
        case np.ndarray() as vector:
            exact = unit(vector)
        case other:
            raise TypeError(f"no oracle for {as_query(other)!r}")
    return corpus.judge(result, exact, request.top_k)


async def _embedded(client: Client, texts: Sequence[str]) -> Vectors:
    step = _EMBEDDED_TOGETHER
    rows = [await client.embed(texts=texts[at : at + step], timeout=60) for at in range(0, len(texts), step)]
    return unit(np.concatenate(rows))

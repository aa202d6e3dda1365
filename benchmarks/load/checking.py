"""Whether answers are right: against brute force where the pictures are at hand, else against what was promised."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from benchmarks.load.generator import Call, Run
from benchmarks.load.payloads import REQUESTS
from benchmarks.load.scenario import Scenario
from benchmarks.oracle import Oracle, Vectors, unit, well_formed
from benchmarks.questions import embedded, oracle_of
from sightline import Client, SearchResult, Tls
from sightline._translate import from_response
from sightline.v1 import search_pb2

DEFAULT_K = 10
SHOWN = 5

_Request = search_pb2.SearchRequest
_Response = search_pb2.SearchResponse
_Item = search_pb2.SearchBatchItem | search_pb2.SearchStreamResponse


@dataclass(slots=True)
class Checks:
    """What came of all answers. A call may bring many: an item of a batch or stream counts like a call of its own.

    Attributes:
        answers: how many there were.
        judged: how many of them were held against brute force.
        wrong: how many of them were wrong; the first few are in `first_wrong`.
        partial: how many said that they lack something.
        item_errors: errors in place of an answer within batches and streams, by reason.
        unanswered: questions of batches and streams that were answered OK as a whole, without a word on these.
        caches: where answers came from.
    """

    answers: int = 0
    judged: int = 0
    wrong: int = 0
    partial: int = 0
    item_errors: Counter[str] = field(default_factory=Counter)
    unanswered: int = 0
    caches: Counter[str] = field(default_factory=Counter)
    first_wrong: list[str] = field(default_factory=list)


def oracle_at(scenario: Scenario, pictures: Path) -> Oracle:
    """Returns brute force over a list of pictures, as the indexer reads it, embedded by the cluster itself."""

    async def ask() -> Oracle:
        async with _client(scenario) as client:
            return await oracle_of(client, pictures)

    return asyncio.run(ask())


def check(run: Run, oracle: Oracle | None = None) -> Checks:
    """Checks every answer of a run.

    Args:
        run: what was asked, and what came.
        oracle: brute force over what is indexed; the texts that were asked are embedded by the cluster. Without it, and
            where a question has a filter, a least score or is a picture or a mixture, answers are held against what
            each says of itself: its number of hits, their order, their ids.
    """
    checks = Checks()
    pairs = [pair for call in run.calls if not call.error for pair in _pairs(run.scenario, call, checks)]
    texts = [*{one.query.text: None for one, _ in pairs if one.query.WhichOneof("kind") == "text"}]
    vectors = asyncio.run(_embedded(run.scenario, texts)) if oracle and texts else {}
    for request, response in pairs:
        _check(request, from_response(response), oracle, vectors, checks)
    return checks


def _pairs(scenario: Scenario, call: Call, checks: Checks) -> Iterator[tuple[_Request, _Response]]:
    """Each question with its answer; counts those that have none."""
    sent = [REQUESTS[scenario.method].FromString(one) for one in call.request]
    match scenario.method, sent:
        case "Search", [search_pb2.SearchRequest() as request]:
            yield request, _Response.FromString(call.answers[0])
            return
        case "SearchBatch", [search_pb2.SearchBatchRequest() as batch]:
            items = search_pb2.SearchBatchResponse.FromString(call.answers[0]).items
            asked = {str(place): one for place, one in enumerate(batch.requests)}
            said: dict[str, _Item] = {str(place): item for place, item in enumerate(items)}
        case _:
            asked = {one.correlation_id: one.request for one in sent if isinstance(one, search_pb2.SearchStreamRequest)}
            answers = map(search_pb2.SearchStreamResponse.FromString, call.answers)
            said = {one.correlation_id: one for one in answers}
    checks.unanswered += len(asked.keys() - said.keys())
    for word in asked.keys() & said.keys():
        if said[word].HasField("error"):
            checks.item_errors[said[word].error.reason] += 1
        else:
            yield asked[word], said[word].response


async def _embedded(scenario: Scenario, texts: Sequence[str]) -> dict[str, Vectors]:
    async with _client(scenario) as client:
        return dict(zip(texts, await embedded(client, texts=texts), strict=True))


def _client(scenario: Scenario) -> Client:
    key = scenario.metadata.get("authorization", "").removeprefix("Bearer ")
    tls = None if scenario.insecure else Tls(scenario.cacert or None, scenario.cert or None, scenario.key or None)
    return Client(scenario.host, tls=tls, key=key, timeout=60.0)


def _check(
    request: _Request, result: SearchResult, oracle: Oracle | None, vectors: dict[str, Vectors], checks: Checks
) -> None:
    k = request.top_k if request.HasField("top_k") else DEFAULT_K
    checks.answers += 1
    checks.caches[result.cache] += 1
    partial = bool(result.degraded) or not result.coverage.complete
    checks.partial += partial
    query = _vector(request, oracle, vectors) if oracle and not partial else None
    if oracle and query is not None:
        checks.judged += 1
        faults = oracle.judge(result, query, k).faults
    else:
        faults = well_formed(result, k, all_of_them=not (partial or request.HasField("min_score")))
    if faults:
        checks.wrong += 1
        checks.first_wrong += [f"{request.query}: {'; '.join(faults)}"] * (len(checks.first_wrong) < SHOWN)


def _vector(request: _Request, oracle: Oracle, vectors: dict[str, Vectors]) -> Vectors | None:
    """The vector that a question stands for; None where brute force alone does not tell its answer."""
    if request.HasField("filter") or request.HasField("min_score"):
        return None
    match request.query.WhichOneof("kind"):
        case "text":
            return vectors[request.query.text]
        case "image_id":
            return oracle.vector(request.query.image_id)
        case "vector":
            return unit(np.frombuffer(request.query.vector.values, "<f4"))
        case _:
            return None

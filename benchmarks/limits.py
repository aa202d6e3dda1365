"""Full queues and deadlines that pass: said at once, and nothing is computed for nobody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import grpc
import numpy as np

from benchmarks.losses import AT_ONCE
from benchmarks.proof import Proof
from benchmarks.stage import Stage
from benchmarks.stamped import COLLECTION, Stamped
from benchmarks.traffic import Unretried, ask
from services.runtime.wire import error_from_message
from sightline import Client, SearchRequest, SearchResult
from sightline.errors import DeadlineExceeded, ResourceExhausted, SightlineError
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc, searcher_pb2, searcher_pb2_grpc
from sightline.queries import QueryLike

WAITING = 8
"""Places in each queue of the gateway that these questions go through."""

PATIENT, IMPATIENT = 30.0, 0.5
_FULL = 1024  # items of one call, and as many as an encoder lets wait
# Two calls that fit the windows of a connection together: all of both has arrived when a process goes on.
_BUSY, _LATE = 32, 16
_SETTLE = 0.4
_ATTEMPTS = 5


@asynccontextmanager
async def narrow_gateway(stage: Stage, name: str) -> AsyncIterator[Client]:
    """Lets a gateway have one encoder, one searcher a group, short queues and calls of one item, for this long."""
    cluster = stage.cluster
    groups = range(cluster.topology.groups)
    told: dict[str, Any] = {
        "encoders": cluster.processes["encoder-0"].spec.address,
        "searchers": ",".join(cluster.processes[f"searcher-{group}-0"].spec.address for group in groups),
        "queue_capacity": WAITING,
        # What hangs must not count as silent, or its queue would be emptied.
        "probe_seconds": 60,
        "probe_timeout_seconds": 60,
        **dict.fromkeys(("encode_batch", "encode_lanes", "search_batch", "search_lanes"), 1),
    }
    await asyncio.to_thread(cluster.restart, name, told)
    async with Unretried(cluster.processes[name].spec.address) as client:
        yield client


async def queue_full(stage: Stage, proof: Proof, narrow: Client) -> None:
    """Where the way to an encoder is full, one more is refused at once, and those who wait are answered."""
    cluster = stage.cluster
    cluster.stop("encoder-0")
    waiting = [asyncio.create_task(_ask(narrow, f"waiting {number}")) for number in range(WAITING + 1)]
    await asyncio.sleep(_SETTLE)
    began = time.monotonic()
    refused = await asyncio.gather(*(_ask(narrow, f"too many {number}") for number in range(WAITING)))
    took = time.monotonic() - began
    proof.expect("queue full: still waiting", sum(not task.done() for task in waiting), WAITING + 1)
    cluster.resume("encoder-0")
    proof.expect("queue full: refused", _named(refused), {"ResourceExhausted QUEUE_FULL": WAITING})
    proof.holds("queue full: refused at once", took < AT_ONCE)
    proof.figures["queue full: seconds until refused"] = round(took, 3)
    answered = await asyncio.gather(*waiting)
    proof.expect("queue full: answered of those who waited", sum(_right(one) for one in answered), WAITING + 1)


async def encoder_full(stage: Stage, proof: Proof) -> None:
    """An encoder that is full says so at once, also to those who ask a gateway."""
    async with (
        grpc.aio.insecure_channel(stage.cluster.processes["encoder-0"].spec.address) as channel,
        Unretried(stage.gateways[0]) as client,
    ):
        stub: Any = encoder_pb2_grpc.EncoderServiceStub(channel)
        first = asyncio.create_task(_encode(stub, "full", _FULL))
        await asyncio.sleep(0.02)
        second = await _encode(stub, "overfull", _FULL)
        proof.holds("encoder full: refused before the first were done", not first.done())
        refused = sum(isinstance(one, ResourceExhausted) for one in second)
        proof.figures["encoder full: refused of as many as it lets wait"] = refused
        proof.holds("encoder full: RESOURCE_EXHAUSTED", refused > _FULL / 2)
        proof.expect("encoder full: other errors", len([one for one in second if one]) - refused, 0)
        proof.expect("encoder full: errors among the first", [one for one in await first if one], [])
        proof.holds("encoder full: answers again", _right(await _ask(client, "after that")))


async def expired_on_the_way(stage: Stage, proof: Proof, narrow: Client) -> None:
    """A query whose deadline passes while it waits behind a process that hangs is never computed."""
    searchers = [f"searcher-{group}-0" for group in range(stage.cluster.topology.groups)]
    vectors = np.random.default_rng(5).standard_normal((2 * WAITING, stage.corpus.model.dimension)).astype(np.float32)
    texts = [f"late {number}" for number in range(2 * WAITING)]
    await _expired(stage, proof, narrow, texts, ["encoder-0"])
    await _expired(stage, proof, narrow, list(vectors), searchers)


async def expired_in_their_queues(stage: Stage, proof: Proof) -> None:
    """What expires in the queue of an encoder or a searcher is counted there as expired, and not computed."""
    encoder, searcher = (stage.cluster.processes[name].spec.address for name in ("encoder-0", "searcher-0-0"))
    async with grpc.aio.insecure_channel(encoder) as to_encoder, grpc.aio.insecure_channel(searcher) as to_searcher:
        encoding: Any = encoder_pb2_grpc.EncoderServiceStub(to_encoder)
        searching: Any = searcher_pb2_grpc.SearcherServiceStub(to_searcher)
        await encoding.Describe(encoder_pb2.DescribeRequest())
        await searching.Status(searcher_pb2.StatusRequest())
        await _behind(stage, proof, "encoder-0", partial(_encode, encoding))
        await _behind(stage, proof, "searcher-0-0", partial(_search, searching, stage.corpus))


async def _behind(
    stage: Stage,
    proof: Proof,
    name: str,
    work: Callable[[str, int, int], Coroutine[Any, Any, list[SightlineError | None]]],
) -> None:
    """Lets a process find two calls at once, the second with a millisecond: its items queue behind the first one's.

    Where both arrive in one turn they may share a batch, in time: then it is tried again.
    """
    for _ in range(_ATTEMPTS):
        if await _behind_once(stage, proof, name, work):
            return
    proof.faults.append(f"{name}: in {_ATTEMPTS} attempts nothing expired in its queue")


async def _behind_once(
    stage: Stage,
    proof: Proof,
    name: str,
    work: Callable[[str, int, int], Coroutine[Any, Any, list[SightlineError | None]]],
) -> bool:
    """Returns whether all late items expired; each is either computed or counted as expired, never both."""
    role = stage.cluster.processes[name].spec.role
    before = (stage.work(name), stage.count(name, "sightline_expired_total"))
    stage.cluster.stop(name)
    busy = asyncio.create_task(work("busy", _BUSY, 60_000))
    await asyncio.sleep(_SETTLE)
    late = asyncio.create_task(work("late", _LATE, 1))
    await asyncio.sleep(_SETTLE)
    stage.cluster.resume(name)
    proof.expect(f"expired in the {role}'s queue: errors of others", _named(await busy), {"answer": _BUSY})
    proof.expect(f"expired in the {role}'s queue: answers", _kinds(await late), {DeadlineExceeded.__name__: _LATE})
    await asyncio.sleep(_SETTLE)
    computed = stage.work(name) - before[0]
    expired = stage.count(name, "sightline_expired_total") - before[1]
    proof.expect(f"expired in the {role}'s queue: computed or expired", computed + expired, _BUSY + _LATE)
    return expired == _LATE


async def _expired(
    stage: Stage, proof: Proof, narrow: Client, queries: Sequence[QueryLike], names: Sequence[str]
) -> None:
    """Asks one query with much time and the rest with little, while these processes hang."""
    role = stage.cluster.processes[names[0]].spec.role
    before = [stage.work(name) for name in names]
    for name in names:
        stage.cluster.stop(name)
    patient = asyncio.create_task(_ask(narrow, queries[0]))
    await asyncio.sleep(_SETTLE)
    late = await asyncio.gather(*(_ask(narrow, one, IMPATIENT) for one in queries[1 : WAITING + 1]))
    for name in names:
        stage.cluster.resume(name)
    proof.expect(f"{role} hung: late answers", _kinds(late), {DeadlineExceeded.__name__: WAITING})
    proof.holds(f"{role} hung: who had time is answered", _right(await patient))
    await asyncio.sleep(_SETTLE)
    computed = [stage.work(name) - count for name, count in zip(names, before, strict=True)]
    proof.expect(
        f"{role} hung: computed by each, of {WAITING} that expired and 1 that did not", computed, [1] * len(names)
    )


async def _ask(client: Client, query: QueryLike, timeout: float = PATIENT) -> SearchResult | SightlineError:
    return await ask(client, SearchRequest(query, collection=COLLECTION), timeout)


async def _encode(stub: Any, word: str, count: int, milliseconds: int = 60_000) -> list[SightlineError | None]:
    """Returns the error of each of so many texts, None where there is none."""
    items = [encoder_pb2.EncodeItem(text=f"{word} {number}", remaining_ms=milliseconds) for number in range(count)]
    reply = await stub.Encode(encoder_pb2.EncodeRequest(items=items))
    errors: list[SightlineError | None] = [None] * count
    for failed in reply.errors:
        errors[failed.index] = error_from_message(failed.error)
    return errors


async def _search(stub: Any, corpus: Stamped, word: str, count: int, milliseconds: int) -> list[SightlineError | None]:
    """Returns the error of each of so many queries, None where there is none."""
    vectors = np.random.default_rng(len(word)).standard_normal((count, corpus.model.dimension)).astype("<f4")
    items = [
        searcher_pb2.SearchItem(
            collection=COLLECTION,
            generation=corpus.current(),
            k=1000,
            vector=vector.tobytes(),
            documents=True,
            remaining_ms=milliseconds,
        )
        for vector in vectors
    ]
    reply = await stub.Search(searcher_pb2.SearchRequest(items=items))
    return [error_from_message(one.error) if one.HasField("error") else None for one in reply.results]


def _right(outcome: SearchResult | SightlineError) -> bool:
    return isinstance(outcome, SearchResult) and outcome.coverage.complete and len(outcome.hits) > 0


def _named(outcomes: Sequence[object]) -> dict[str, int]:
    """Counts errors by kind and reason, and the rest as answers."""
    return dict(
        Counter(
            f"{type(one).__name__} {one.reason}" if isinstance(one, SightlineError) else "answer" for one in outcomes
        )
    )


def _kinds(outcomes: Sequence[object]) -> dict[str, int]:
    return dict(Counter(type(one).__name__ for one in outcomes))

"""Identical queries in flight are answered once, belong to nobody, and a hit in a cache is told as what it is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.emoji import MODEL, draw, index_into
from benchmarks.proof import Proof
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import CacheState, Client, SearchResult

CALLERS = 500
GROUPS = 2
SHARDS = 4
TIMEOUT = 60.0

GATEWAY, OTHER_GATEWAY, ENCODER = "gateway-0", "gateway-1", "encoder-0"
SEARCHERS = tuple(f"searcher-{group}-0" for group in range(GROUPS))
# A gateway that uses less CPU than this in so many seconds has taken in all that was sent to it.
STILL_SECONDS, STILL_CPU = 0.5, 0.03


def bar() -> dict[str, object]:
    """500 identical queries at once: as they come, while the encoder is held, and with a first caller who leaves."""
    with TemporaryDirectory() as folder, serving(Path(folder), draw()) as cluster:
        proof = prove(cluster, CALLERS)
    return proof.outcome(
        f"{CALLERS} identical uncached queries at once: 1 encode, 1 search of each of {SHARDS} shards; where the first "
        f"caller left, {CALLERS - 1} were answered; a cache hit reports its own request id, state and times"
    )


@contextmanager
def serving(run_dir: Path, source: Path) -> Iterator[LocalCluster]:
    """A cluster with two gateways and a Redis that serves the pictures of a list."""
    cluster = LocalCluster(
        store=str(run_dir / "store"),
        model=str(MODEL),
        run_dir=run_dir,
        topology=Topology(groups=GROUPS, gateways=2),
        # An encoder that is held for some seconds must not count as silent.
        overrides={"gateway": {"probe_timeout_seconds": TIMEOUT}},
    )
    with cluster:
        index_into(cluster, source, shards=SHARDS)
        yield cluster


def prove(cluster: LocalCluster, callers: int) -> Proof:
    """Asks, and counts what was computed."""
    proof = Proof()
    asyncio.run(_prove(cluster, callers, proof))
    return proof


async def _prove(cluster: LocalCluster, callers: int, proof: Proof) -> None:
    async with Client(cluster.gateway, timeout=TIMEOUT) as client:
        async with _computed(cluster, proof, "as they come"):
            results = await asyncio.gather(*(client.search("a first question") for _ in range(callers)))
        states = _states(results)
        proof.expect("as they come: answers computed for their caller", states[CacheState.MISS], 1)
        proof.figures["as they come: answers by cache state"] = {str(state): count for state, count in states.items()}

        async with _computed(cluster, proof, "encoder held"), _held(cluster):
            asked = [asyncio.create_task(client.search("a second question")) for _ in range(callers)]
            await _taken_in(cluster)
        states = _states(await asyncio.gather(*asked))
        proof.expect("encoder held: answers by cache state", dict(states), _shared(1, callers - 1))

        async with _computed(cluster, proof, "first caller leaves"), _held(cluster):
            first = asyncio.create_task(client.search("a third question"))
            await _taken_in(cluster)
            others = [asyncio.create_task(client.search("a third question")) for _ in range(callers - 1)]
            await _taken_in(cluster)
            first.cancel()
            await _taken_in(cluster)
        states = _states(await asyncio.gather(*others))
        proof.expect("first caller leaves: answers by cache state", dict(states), _shared(0, callers - 1))
        proof.holds("first caller leaves: without an answer", first.cancelled())

        await _prove_hits(cluster, client, proof)


async def _prove_hits(cluster: LocalCluster, client: Client, proof: Proof) -> None:
    first = await client.search("a fourth question", request_id="first")
    second = await client.search("a fourth question", request_id="second")
    await asyncio.sleep(STILL_SECONDS)  # nobody waits until an answer is written to Redis
    async with Client(cluster.gateways[1], timeout=TIMEOUT) as other:
        third = await other.search("a fourth question", request_id="third")
    proof.expect("request ids", [one.request_id for one in (first, second, third)], ["first", "second", "third"])
    states = [CacheState.MISS, CacheState.HIT_LOCAL, CacheState.HIT_SHARED]
    proof.expect("cache states", [one.cache for one in (first, second, third)], states)
    for name, hit in (("local", second), ("shared", third)):
        times = hit.times
        stages = (times.encode_us, times.search_us, times.merge_us, times.fetch_us)
        proof.expect(f"{name} hit: stages that did not take place", stages, (0, 0, 0, 0))
        proof.holds(f"{name} hit: a time of its own", 0 < times.total_us < first.times.total_us)
        proof.holds(f"{name} hit: the same answer", hit.hits == first.hits and hit.coverage == first.coverage)
    proof.figures["microseconds: computed, local hit, shared hit"] = [
        one.times.total_us for one in (first, second, third)
    ]


@asynccontextmanager
async def _computed(cluster: LocalCluster, proof: Proof, case: str) -> AsyncIterator[None]:
    """Expects that one text is encoded and that each searcher is asked once, while and shortly after this lasts."""
    before = _counts(cluster)
    yield
    for _ in range(100):
        if all(now > then for now, then in zip(_counts(cluster), before, strict=True)):
            break
        await asyncio.sleep(0.1)
    await asyncio.sleep(STILL_SECONDS)
    encodes, *searches = (now - then for now, then in zip(_counts(cluster), before, strict=True))
    proof.expect(f"{case}: encodes", encodes, 1)
    proof.expect(f"{case}: searches by group", searches, [1] * len(SEARCHERS))


@asynccontextmanager
async def _held(cluster: LocalCluster) -> AsyncIterator[None]:
    """While this lasts the encoder answers nothing, so that whoever asks finds the query in flight."""
    cluster.stop(ENCODER)
    try:
        yield
    finally:
        cluster.resume(ENCODER)


async def _taken_in(cluster: LocalCluster) -> None:
    """Waits until the gateway has read all that was sent to it."""
    for _ in range(60):
        before = cluster.cpu_seconds(GATEWAY)
        await asyncio.sleep(STILL_SECONDS)
        if cluster.cpu_seconds(GATEWAY) - before < STILL_CPU:
            return
    raise TimeoutError("the gateway does not come to rest")


def _counts(cluster: LocalCluster) -> list[int]:
    encoded = cluster.metrics(ENCODER).total("sightline_encoder_items_total", kind="text")
    searched = [cluster.metrics(name).total("sightline_searcher_queries_total") for name in SEARCHERS]
    return [int(encoded), *map(int, searched)]


def _states(results: list[SearchResult]) -> Counter[CacheState]:
    return Counter(result.cache for result in results)


def _shared(computed: int, joined: int) -> dict[CacheState, int]:
    states = {CacheState.MISS: computed, CacheState.JOINED: joined}
    return {state: count for state, count in states.items() if count}

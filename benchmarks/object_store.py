"""Pictures and generations in buckets of a real S3 server that hangs, truncates and fails: no bad generation is ever
served, and the old one goes on being served."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import bucket_pictures, s3_server
from benchmarks.emoji import draw, encoding, some
from benchmarks.faulty import Fault, FaultyProxy
from benchmarks.losses import expect_whole
from benchmarks.proof import Proof
from benchmarks.stage import PATIENCE, Stage, staged
from benchmarks.stamped import COLLECTION, SMALL, Stamped, indexer, wait_visible
from benchmarks.traffic import Call
from services.local import probes
from services.local.topology import Topology
from services.store import Pointer, Store
from sightline import Client, Unavailable
from sightline.errors import SightlineError

TOPOLOGY = Topology(groups=2, replicas=1, gateways=2, encoders=0, redis=False)
IMPATIENT = {"store_timeout_seconds": 2, "poll_seconds": 0.2}
SETTINGS = {"gateway": IMPATIENT, "searcher": IMPATIENT}
KINDS = ("hang", "stall", "truncate", "shorten", "error", "unready", "lose", "reset", "trickle")
UPLOADS = ("hang", "error", "lose", "reset")
"""What can go wrong with a write: its answer has nothing in it that could be cut."""

ROUNDS = 10
QUESTIONS = ("vector", "many", "id")
REFUSED = "error:"


def bar() -> dict[str, object]:
    """Everything with every fault."""
    proof = Proof()
    if why := s3_server.missing():
        proof.faults.append(why)
        return proof.outcome("")
    with TemporaryDirectory() as name, failing_s3(Path(name)) as proxy:
        pictures = some(draw(), 8, Path(name))
        with encoding(Path(name) / "encoder") as encoder:
            bucket_pictures.prove(pictures, encoder, proxy, proof, Path(name))
        with on_s3(Path(name) / "stage", seconds=4) as stage:
            asyncio.run(prove(stage, proxy, proof, kinds=KINDS, uploads=UPLOADS))
        prove_race(proof, ROUNDS)
    answers = sum(one["calls"] for one in proof.figures.values() if isinstance(one, dict) and "calls" in one)
    return proof.outcome(
        f"pictures and generations on versitygw; {len(KINDS)} kinds of failure while polling, building, publishing and "
        f"loading, and restarts during an outage: {answers:,} answers, 0 errors, 0 partial, 0 wrong, none from a "
        f"generation that was not published; each time the next one was published once the failure was over; "
        f"{ROUNDS} races of two committers, each with one winner"
    )


@contextmanager
def failing_s3(folder: Path) -> Iterator[FaultyProxy]:
    """A server over a folder, which the environment leads to by way of a proxy that can be made to fail."""
    with s3_server.S3Server(folder / "s3") as server, FaultyProxy(server.address) as proxy:
        leads = {**server.environment, "AWS_ENDPOINT_URL": f"http://{proxy.address}"}
        with s3_server.environment(leads):
            yield proxy


@contextmanager
def on_s3(folder: Path, *, seconds: float, images: int = 2000) -> Iterator[Stage]:
    """A cluster whose store is a bucket of its own."""
    url = f"s3://{s3_server.bucket()}/index"
    with staged(folder, TOPOLOGY, overrides=SETTINGS, seconds=seconds, images=images, store=url) as stage:
        stage.corpus.store = Store(url, timeout=5)
        yield stage


async def prove(
    stage: Stage, proxy: FaultyProxy, proof: Proof, *, kinds: Sequence[str], uploads: Sequence[str]
) -> None:
    """Makes the store fail in these ways, each while nothing happens, while building, publishing and loading; then
    restarts processes while it hangs."""
    for kind in kinds:
        await while_polling(stage, proxy, proof, kind)
        await while_publishing(stage, proxy, proof, kind)
        await while_loading(stage, proxy, proof, kind)
    for kind in uploads:
        await while_building(stage, proxy, proof, kind)
    await restarted(stage, proxy, proof)


async def while_polling(stage: Stage, proxy: FaultyProxy, proof: Proof, kind: str) -> None:
    """Nobody notices that the store fails, and nothing has to be done when it no longer does."""
    case = f"{kind} while polling"
    async with stage.traffic(*QUESTIONS) as traffic:
        with proxy.failing(fault(kind)):
            await asyncio.sleep(stage.seconds)
            proof.holds(f"{case}: requests were met", proxy.harmed.total() > 0)
    await _served(stage, proof, case, traffic.calls, {stage.corpus.current()})


async def while_publishing(stage: Stage, proxy: FaultyProxy, proof: Proof, kind: str) -> None:
    """A committer that cannot speak to the store says so, and CURRENT stays; later it moves."""
    case = f"{kind} while publishing"
    before = stage.corpus.current()
    generation = await asyncio.to_thread(stage.corpus.build)
    async with stage.traffic(*QUESTIONS) as traffic:
        with proxy.failing(fault(kind)):
            code, said = await publish(stage, generation, timeout=20)
        _expect_refusal(proof, case, kind, code, said)
        if code:
            proof.expect(f"{case}: CURRENT", stage.corpus.current(), before)
        await _published(stage, proof, case, generation)
    await _served(stage, proof, case, traffic.calls, {before, generation})


async def while_loading(stage: Stage, proxy: FaultyProxy, proof: Proof, kind: str) -> None:
    """Searchers that cannot fetch a generation do not serve it, so that it is not published; later it is."""
    case = f"{kind} while loading"
    before = stage.corpus.current()
    generation = await asyncio.to_thread(stage.corpus.build)
    async with stage.traffic(*QUESTIONS) as traffic:
        with proxy.failing(fault(kind, method="GET", path=f"{generation:08d}/shard-")):
            code, said = await publish(stage, generation, timeout=20 if kind == "trickle" else 3)
            proof.holds(f"{case}: requests were met", proxy.harmed.total() > 0)
        _expect_refusal(proof, case, kind, code, said)
        if code:
            proof.expect(f"{case}: CURRENT", stage.corpus.current(), before)
        await _published(stage, proof, case, generation)
    await _served(stage, proof, case, traffic.calls, {before, generation})


async def while_building(stage: Stage, proxy: FaultyProxy, proof: Proof, kind: str) -> None:
    """What cannot be uploaded is no generation."""
    case = f"{kind} while building"
    before = await asyncio.to_thread(stage.corpus.store.generations, COLLECTION)
    with proxy.failing(fault(kind, method="PUT", path="shard-")):
        try:
            await asyncio.to_thread(stage.corpus.build)
        except SightlineError as error:
            proof.holds(f"{case}: it says what failed", isinstance(error, Unavailable) and "shard-" in error.message)
        else:
            proof.faults.append(f"{case}: it succeeded")
        proof.holds(f"{case}: requests were met", proxy.harmed.total() > 0)
    after = await asyncio.to_thread(stage.corpus.store.generations, COLLECTION)
    proof.expect(f"{case}: generations beside those before", sorted({*after} - {*before}), [])


async def restarted(stage: Stage, proxy: FaultyProxy, proof: Proof) -> None:
    """A searcher that is restarted while the store hangs serves what it served; a gateway waits, and says so."""
    case, name = "restart while the store hangs", "searcher-0-0"
    serving = stage.corpus.current()
    with proxy.failing(fault("hang")):
        await stage.kill(name)
        await stage.restore(name)
        await wait_visible(stage.gateways[:1], serving, stage.corpus.model.dimension)
        await asyncio.to_thread(stage.cluster.restart, "gateway-1", wait=False)
        async with replace(stage, gateways=stage.gateways[:1]).traffic(*QUESTIONS) as traffic:
            await asyncio.sleep(stage.seconds)
        proof.expect(f"{case}: a gateway that knows nothing", await _first_word(stage.gateways[1]), "STORE_UNREAD")
        health = stage.cluster.processes["gateway-1"].spec.health
        proof.holds(f"{case}: it is not ready", not await asyncio.to_thread(probes.is_ready, health))
    await asyncio.to_thread(stage.cluster.wait_ready, "gateway-1")
    await wait_visible(stage.gateways, serving, stage.corpus.model.dimension)
    await _served(stage, proof, case, traffic.calls, {serving})


def prove_race(proof: Proof, rounds: int) -> None:
    """Of two committers who want to move CURRENT at the same moment, one does and the other hears who was faster."""
    store = Store(f"s3://{s3_server.bucket()}/index")
    corpus = Stamped(store, SMALL, images=8, shards=1, groups=1)
    numbers = [corpus.build(), corpus.build()]
    wins = 0
    with ThreadPoolExecutor(2) as pool:
        for number in range(rounds):
            expected = store.pointers(COLLECTION).current
            moves = [Pointer(one, previous=number) for one in numbers]
            outcomes = list(pool.map(lambda move, seen=expected: _commit(store, seen, move), moves))
            wins += sorted(outcomes) == ["", "CURRENT_MOVED"]
            proof.holds(
                "a race: CURRENT is the winner's", store.pointers(COLLECTION).current == moves[outcomes.index("")]
            )
    proof.expect("races of two committers with one winner", wins, rounds)


def fault(kind: str, method: str = ".*", path: str = "") -> Fault:
    """Returns a fault by its name here: one of the proxy's, or `unready`, an answer of 503."""
    known = "error" if kind == "unready" else kind
    return Fault(known, method=method, path=path, status=503 if kind == "unready" else 500)


async def publish(stage: Stage, generation: int, *, timeout: float = 60) -> tuple[int, str]:
    """Runs the indexer's command; returns its exit code and what it said."""
    told = ("--generation", str(generation), "--timeout", str(timeout))
    return await asyncio.to_thread(indexer, "publish", stage.cluster, *told)


async def _published(stage: Stage, proof: Proof, case: str, generation: int) -> None:
    """Publishes, now that nothing fails any more, where that has not been done."""
    code, said = await publish(stage, generation)
    if code:
        proof.faults.append(f"{case}: when it was over, publish ended with {code}: {said[-300:]}")
        return
    await wait_visible(stage.gateways, generation, stage.corpus.model.dimension)


def _expect_refusal(proof: Proof, case: str, kind: str, code: int, said: str) -> None:
    """What is slow succeeds; everything else ends with 1 and a sentence."""
    proof.expect(f"{case}: exit code", code, 0 if kind == "trickle" else 1)
    if code:
        sentence = said[said.find(REFUSED) :].strip() if REFUSED in said else ""
        proof.figures[f"{case}: it says"] = sentence[:200]
        proof.holds(f"{case}: it says why in a sentence", bool(sentence) and "Traceback" not in said)


async def _served(stage: Stage, proof: Proof, case: str, calls: Sequence[Call], generations: set[int]) -> None:
    tally = await stage.judged(calls)
    expect_whole(proof, f"{case}: traffic", tally)
    proof.expect(f"{case}: other generations that answered", sorted({*tally.generations} - generations), [])


async def _first_word(gateway: str) -> str:
    """Waits until a gateway that starts says something; returns why it answers no question, nothing where it does."""
    said, until = "UNAVAILABLE", time.monotonic() + PATIENCE
    async with Client(gateway) as client:
        while said == "UNAVAILABLE" and time.monotonic() < until:
            try:
                await client.search(np.ones(SMALL.dimension, np.float32), collection=COLLECTION, timeout=5)
                said = ""
            except SightlineError as error:
                said = error.reason
                await asyncio.sleep(0.1)
    return said


def _commit(store: Store, expected: Pointer | None, new: Pointer) -> str:
    try:
        store.commit_current(COLLECTION, expected, new)
    except SightlineError as error:
        return error.reason
    return ""

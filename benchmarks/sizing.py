"""What each tier needs: memory and disk for an image, processor time for a query. docs/kubernetes.md plans with it.

Two sizes of one collection stand before searchers, so that what a process needs in any case is told from what an image
adds. Queries are texts that nobody asked before, vectors, and texts that the gateway's cache has.
"""

from __future__ import annotations

import asyncio
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import redis

from benchmarks.callers import Load, Order
from benchmarks.emoji import COLLECTION, MODEL, draw, index_into, read
from benchmarks.proof import Proof
from benchmarks.variations import DIMENSION, Vectors, texts_and_images
from services.index import Row, train, use_threads, write_shard
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from services.store import Model, Pointer, Store
from sightline import Client
from sightline.errors import SightlineError
from sightline.v1 import common_pb2

SIZES = (50_000, 200_000)
INDEXES = {"Flat": 1, "IVF1024,PQ128x4fs": 16}
"""By FAISS factory string: how many times more queries are asked of it than of Flat, to measure as long."""

QUERIES, CALLERS, ROUNDS = 300, 32, 7
SAMPLE = 100_000
GROUPS = 4
VISIBLE_SECONDS = 60.0
MICROSECONDS = 1e6
MILLION = "memory of a million images"


@dataclass(frozen=True, slots=True)
class Searcher:
    """What a searcher of one shard takes.

    Attributes:
        images: in the shard.
        disk: bytes of the shard's files.
        memory: bytes resident, mapped files among them, after it has answered queries of all kinds.
        cpu: seconds of a query.
    """

    images: int
    disk: int
    memory: int
    cpu: float


def bar() -> dict[str, object]:
    """Builds the collections, and the demonstration's; takes some minutes. It always passes: it measures."""
    use_threads(1)
    proof = Proof()
    _, images = texts_and_images(max(SIZES))
    with TemporaryDirectory() as name:
        for factory, more in INDEXES.items():
            small, large = (measured(Path(name), factory, images[:size], queries=QUERIES * more) for size in SIZES)
            added = of_an_image(small, large)
            proof.figures |= {f"{factory}: {what}": figure for what, figure in added.items()}
        proof.figures |= _serving(Path(name) / "serving")
    figures = proof.figures
    return proof.outcome(
        f"{MILLION}: {figures[f'{list(INDEXES)[-1]}: {MILLION}']} GB in {list(INDEXES)[-1]} of {DIMENSION} dimensions; "
        f"a new text takes {figures['gateway: CPU µs of a new text']} µs of a gateway's core, one that it has "
        f"{figures['gateway: CPU µs of a text in its cache']}"
    )


def measured(folder: Path, factory: str, images: Vectors, *, queries: int, rounds: int = ROUNDS) -> Searcher:
    """Serves images, float32 [n, d], in one shard by one searcher, and asks it by vectors.

    Args:
        folder: for the store and what the processes write.
        factory: of the index, as FAISS names it.
        images: unit vectors.
        queries: of a round.
        rounds: over which the median is taken, after one that does not count.
    """
    home = folder / f"{factory.split(',', maxsplit=1)[0]}-{len(images)}"
    disk = _publish(str(home / "store"), factory, images)
    alone = Topology(groups=1, encoders=0, redis=False)
    uncached = {"gateway": {"cache_bytes": 0}}
    cluster = LocalCluster(
        store=str(home / "store"), model=str(MODEL), run_dir=home / "run", topology=alone, overrides=uncached
    )
    with cluster, Load(["none"]) as load:
        asyncio.run(_answers(cluster.gateway, images[0]))
        order = Order([cluster.gateway], queries, CALLERS, DIMENSION)
        load(order)
        seconds = [_cpu(cluster, load, order, "searcher-0-0") for _ in range(rounds)]
        return Searcher(len(images), disk, _resident(cluster.processes["searcher-0-0"].pid), median(seconds))


def _publish(store_url: str, factory: str, images: Vectors) -> int:
    """Writes a collection of one shard and publishes it; returns the bytes of its files."""
    store = Store(store_url)
    draft = store.begin(COLLECTION)
    trained = train(factory, DIMENSION, images[:: max(1, len(images) // SAMPLE)])
    draft.seal(0, write_shard(draft.folder(0), _rows(images), trained, {}))
    manifest = draft.publish(Model("sizing", "0" * 64, DIMENSION), index=factory)
    store.set_next(COLLECTION, manifest.generation)
    store.commit_current(COLLECTION, None, Pointer(manifest.generation))
    return sum(file.size for shard in manifest.shards for file in shard.files)


def _rows(images: Vectors) -> Iterator[Row]:
    """With documents as shops have them: an address and a line of words; without thumbnails."""
    for number, vector in enumerate(images):
        uri = f"https://pictures.example.com/catalogue/2026/{number:09d}.jpg"
        caption = f"A summer dress of red cotton with a V neck and short sleeves, number {number}"
        document = common_pb2.Image(id=f"{number:09d}", uri=uri, caption=caption, width=1024, height=1024)
        yield Row(f"{number:09d}", vector, document.SerializeToString())


async def _answers(gateway: str, vector: Vectors) -> None:
    """Waits until the gateway answers. Raises TimeoutError."""
    until = time.monotonic() + VISIBLE_SECONDS
    async with Client(gateway) as client:
        while time.monotonic() < until:
            with suppress(SightlineError):
                await client.search(vector, collection=COLLECTION, refuse_partial=True)
                return
            await asyncio.sleep(0.1)
    raise TimeoutError(f"{gateway} does not answer")


def of_an_image(small: Searcher, large: Searcher) -> dict[str, float]:
    """What a million images add, by the difference of two sizes; and the rest."""
    more = large.images - small.images
    added = (large.memory - small.memory) / more
    return {
        MILLION: round(added / 1e3, 2),
        "GB on disk of a million images": round((large.disk - small.disk) / more / 1e3, 2),
        "MB of memory without images": round((small.memory - added * small.images) / 1e6, 1),
        **{f"CPU µs a query, {one.images:,} images": round(MICROSECONDS * one.cpu, 1) for one in (small, large)},
    }


def _serving(folder: Path) -> dict[str, float]:
    """Serves the demonstration's pictures by four groups, and asks by words."""
    topology = Topology(groups=GROUPS, webs=1, encoder_threads=1)
    cluster = LocalCluster(store=str(folder / "store"), model=str(MODEL), run_dir=folder / "run", topology=topology)
    with cluster:
        index_into(cluster, draw(), shards=GROUPS)
        texts = [one.caption for one in read(draw())]
        with Load(texts) as new, Load(texts) as known:
            order = Order([cluster.gateway], QUERIES * 4, CALLERS)
            again = Order([cluster.gateway], QUERIES * 4, CALLERS, distinct=100)
            new(order)
            known(again)
            keys, used = _redis(cluster)
            fresh = [_all_cpu(cluster, new, order) for _ in range(ROUNDS)]
            more_keys, more_used = _redis(cluster)
            cached = [_cpu(cluster, known, again, "gateway-0") for _ in range(ROUNDS)]
        found = {
            "gateway: CPU µs of a new text": round(MICROSECONDS * median(one["gateway-0"] for one in fresh), 1),
            "gateway: CPU µs of a text in its cache": round(MICROSECONDS * median(cached), 1),
            "encoder: CPU µs of a new text, bundled model": round(
                MICROSECONDS * median(one["encoder-0"] for one in fresh), 1
            ),
            "redis: CPU µs of a new text": round(MICROSECONDS * median(one["redis"] for one in fresh), 1),
            "redis: bytes of an answer": round((more_used - used) / max(1, more_keys - keys)),
            "web: CPU µs of a request": round(MICROSECONDS * _web(cluster, texts), 1),
        }
        memory = {
            f"{name.split('-')[0]}: MB of memory": round(_resident(one.pid) / 1e6, 1)
            for name, one in cluster.processes.items()
        }
        return found | memory


def _cpu(cluster: LocalCluster, load: Load, order: Order, name: str) -> float:
    """Seconds of a processor that a query takes of one process."""
    before = cluster.cpu_seconds(name)
    load(order)
    return (cluster.cpu_seconds(name) - before) / order.queries


def _all_cpu(cluster: LocalCluster, load: Load, order: Order) -> Mapping[str, float]:
    before = {name: cluster.cpu_seconds(name) for name in cluster.processes}
    load(order)
    return {name: (cluster.cpu_seconds(name) - spent) / order.queries for name, spent in before.items()}


def _web(cluster: LocalCluster, texts: list[str]) -> float:
    """Seconds of a processor that a request over HTTP takes of the web process, by callers who connect each time."""

    def ask(number: int) -> None:
        query = urllib.parse.urlencode({"q": f"{texts[number % len(texts)]} {number}", "collection": COLLECTION})
        with urllib.request.urlopen(f"{cluster.web}v1/search?{query}", timeout=30) as answer:
            answer.read()

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(ask, range(QUERIES)))
        before = cluster.cpu_seconds("web-0")
        list(callers.map(ask, range(QUERIES, 5 * QUERIES)))
    return (cluster.cpu_seconds("web-0") - before) / (4 * QUERIES)


def _redis(cluster: LocalCluster) -> tuple[int, int]:
    """How many keys there are, and how many bytes all of it takes."""
    host, _, port = cluster.addresses("redis")[0].rpartition(":")
    with redis.Redis(host=host, port=int(port)) as client:
        return int(client.dbsize()), int(client.info("memory")["used_memory"])


def _resident(pid: int | None) -> int:
    """Bytes of memory that a process has, what it has mapped of files among them."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"no memory is told of process {pid}")

"""A cluster over the emoji whose callers have keys, with a real Prometheus that watches it."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emoji import COLLECTION, MODEL, Emoji, index, read
from benchmarks.prometheus import Prometheus
from services.local.cluster import LocalCluster
from services.local.topology import Overrides, Topology
from services.store import Store
from sightline import Client
from sightline.errors import SightlineError

TOPOLOGY = Topology(groups=2, replicas=2, gateways=2, encoders=2, encoder_threads=1, webs=1)
KEY = "observed"
VISIBLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Observed:
    """What runs.

    Attributes:
        cluster: the processes.
        prometheus: who watches them.
        source: the list of pictures.
        pictures: that they serve.
    """

    cluster: LocalCluster
    prometheus: Prometheus
    source: Path
    pictures: Sequence[Emoji]

    def publish(self) -> None:
        """Builds and publishes a generation, and waits until every gateway answers from it."""
        cluster = self.cluster
        index(
            self.source,
            cluster.store,
            encoders=cluster.addresses("encoder"),
            searchers=cluster.addresses("searcher"),
        )
        pointer = Store(cluster.store).pointers(COLLECTION).current
        asyncio.run(_visible(cluster.gateways, pointer.generation if pointer else 0))


@contextmanager
def observed(
    folder: Path,
    source: Path,
    *,
    topology: Topology = TOPOLOGY,
    seconds: float = 1.0,
    ports: Mapping[str, int] | None = None,
) -> Iterator[Observed]:
    """Starts it all, and publishes a first generation where there is none.

    Args:
        folder: for everything that it writes.
        source: the list of pictures.
        topology: of the cluster.
        seconds: between scrapes.
        ports: of `gateway`, `web` and `prometheus`; any where none is named, or 0.
    """
    wanted = ports or {}
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder.resolve() / "keys"
    keys.write_text(f"observer {hashlib.sha256(KEY.encode()).hexdigest()}\n", encoding="utf-8")
    overrides: Overrides = {
        # So little memory that answers are pushed out of it.
        "gateway": {"keys": keys, "cache_bytes": 100_000, "poll_seconds": 0.5},
        "searcher": {"poll_seconds": 0.5},
        "web": {"gateway_key": KEY},
    }
    cluster = LocalCluster(
        store=str(folder / "store"),
        model=str(MODEL),
        run_dir=folder / "run",
        topology=topology,
        overrides=overrides,
        port=wanted.get("gateway", 0),
        web_port=wanted.get("web", 0),
    )
    with (
        cluster,
        Prometheus(folder / "prometheus", cluster, seconds=seconds, port=wanted.get("prometheus", 0)) as prometheus,
    ):
        seen = Observed(cluster, prometheus, source, read(source))
        if not Store(cluster.store).collections():
            seen.publish()
        yield seen


async def _visible(gateways: Sequence[str], generation: int) -> None:
    until = time.monotonic() + VISIBLE_SECONDS
    for gateway in gateways:
        async with Client(gateway, key=KEY) as client:
            while not await _serves(client, generation):
                if time.monotonic() > until:
                    raise TimeoutError(f"{gateway} does not answer from generation {generation}")
                await asyncio.sleep(0.05)


async def _serves(client: Client, generation: int) -> bool:
    try:
        return (await client.search("apple", collection=COLLECTION, top_k=1)).generation == generation
    except SightlineError:
        return False

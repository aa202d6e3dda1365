"""A cluster to be hurt, and what it serves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.emoji import MODEL
from benchmarks.stamped import SMALL, Stamped, served_model, wait_visible
from benchmarks.traffic import RATE, Call, Tally, Traffic, Unretried, judged, questions
from services.local.cluster import LocalCluster
from services.local.topology import Overrides, Topology
from services.store import Store
from sightline import Client

_WORK = {"searcher": "sightline_searcher_queries_total", "encoder": "sightline_encoder_items_total"}

PATIENCE = 60.0
"""Seconds after which something that should come back by itself counts as gone."""


@dataclass(frozen=True, slots=True)
class Stage:
    """A running cluster.

    Attributes:
        cluster: the processes.
        corpus: what its searchers serve.
        gateways: host:port of those that traffic goes to.
        seconds: how long each state of the cluster is looked at.
    """

    cluster: LocalCluster
    corpus: Stamped
    gateways: Sequence[str]
    seconds: float = 3.0

    @asynccontextmanager
    async def traffic(
        self,
        *kinds: str,
        rate: float = RATE,
        refuse_partial: bool = False,
    ) -> AsyncIterator[Traffic]:
        """Traffic while this lasts: of these kinds of questions or of all, by clients that do not try again."""
        async with AsyncExitStack() as opened:
            clients = [await opened.enter_async_context(Unretried(address)) for address in self.gateways]
            asked = questions(self.corpus, *([kinds] if kinds else []), refuse_partial=refuse_partial)
            yield await opened.enter_async_context(Traffic(clients, asked, rate=rate))

    async def judged(self, calls: Sequence[Call]) -> Tally:
        """Judges answers."""
        async with Client(self.gateways[0]) as client:
            return await judged(calls, self.corpus, client)

    async def kill(self, *names: str) -> None:
        """Kills processes at once."""
        for name in names:
            await asyncio.to_thread(self.cluster.kill, name)

    async def restore(self, *names: str) -> None:
        """Lets processes go on that hang, and starts those that have ended; returns when they are ready."""
        for name in names:
            if self.cluster.processes[name].is_running:
                self.cluster.resume(name)
            else:
                await asyncio.to_thread(self.cluster.restart, name, wait=False)
        await asyncio.to_thread(self.cluster.wait_ready, *names)

    def work(self, name: str) -> int:
        """Reads how many queries a searcher, or items an encoder, has computed since it was started."""
        return self.count(name, _WORK[self.cluster.processes[name].spec.role])

    def count(self, name: str, metric: str, **labels: str) -> int:
        """Reads a counter of a process."""
        return int(self.cluster.metrics(name).total(metric, **labels))


@contextmanager
def staged(
    folder: Path,
    topology: Topology,
    *,
    overrides: Overrides | None = None,
    gateways: int = 0,
    seconds: float = 3.0,
    images: int = 2000,
    store: str = "",
) -> Iterator[Stage]:
    """Starts a cluster that serves a first generation.

    Args:
        folder: empty, for the store and the logs.
        topology: of the cluster. Without encoders its collection is asked without texts.
        overrides: settings.
        gateways: how many of them traffic goes to; all where it is 0.
        seconds: how long each state of the cluster is looked at.
        images: of the collection.
        store: URL of an empty store; a folder where none is given.
    """
    folder.mkdir(parents=True, exist_ok=True)
    store = store or str(folder / "store")
    cluster = LocalCluster(
        store=store, model=str(MODEL), run_dir=folder / "run", topology=topology, overrides=overrides
    )
    with cluster:
        encoders = cluster.addresses("encoder")
        model = asyncio.run(served_model(encoders[0])) if encoders else SMALL
        corpus = Stamped(Store(store), model, images=images, groups=topology.groups)
        generation = corpus.build()
        corpus.start_with(generation)
        asyncio.run(wait_visible(cluster.gateways, generation, model.dimension))
        yield Stage(cluster, corpus, cluster.gateways[: gateways or None], seconds)


async def until(holds: Callable[[], bool]) -> float:
    """Waits until something holds; returns the seconds that it took.

    Raises:
        TimeoutError: it does not come to hold.
    """
    began = time.monotonic()
    while not await asyncio.to_thread(holds):
        if time.monotonic() - began > PATIENCE:
            raise TimeoutError(f"what should come back by itself has not within {PATIENCE:g} s")
        await asyncio.sleep(0.1)
    return time.monotonic() - began

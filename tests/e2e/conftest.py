"""Real clusters over real pictures, for tests from the caller's side."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import pytest

from benchmarks import faults
from benchmarks.emoji import MODEL, draw, index_into, some, wait_visible
from benchmarks.site import published
from benchmarks.stage import Stage
from services.local.cluster import LocalCluster
from services.local.topology import Overrides, Topology
from sightline import Client

StartCluster: TypeAlias = Callable[..., LocalCluster]


@pytest.fixture(scope="session")
def all_pictures() -> Path:
    """The list of all emoji, drawn on first use."""
    return draw()


@pytest.fixture(scope="session")
def pictures(all_pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of 230 of them."""
    return some(all_pictures, 8, tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def cluster(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Two groups, two gateways, one encoder and a Redis over the 230 pictures. Tests share it and leave it whole."""
    folder = tmp_path_factory.mktemp("cluster")
    started = LocalCluster(
        store=str(folder / "store"),
        model=str(MODEL),
        run_dir=folder / "run",
        topology=Topology(groups=2, gateways=2),
        overrides={"searcher": {"poll_seconds": 0.2}, "gateway": {"poll_seconds": 0.2}},
    )
    with started:
        index_into(started, pictures)
        yield started


@pytest.fixture(scope="session")
def web_cluster(
    pictures: Path, cluster: LocalCluster, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalCluster]:
    """A page over the 230 pictures and over a few whose words are markup, served by the shared cluster's encoder. Tests
    share it and leave it whole."""
    with published(tmp_path_factory.mktemp("site"), pictures, cluster.addresses("encoder")[0]) as started:
        yield started


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two groups of two searchers, two encoders, three gateways and a Redis, whose connections end after 3 seconds.
    Tests hurt it and leave it whole."""
    with faults.hurt(tmp_path_factory.mktemp("stage"), age=3, seconds=2) as running:
        yield running


@pytest.fixture
async def client(cluster: LocalCluster) -> AsyncIterator[Client]:
    """A client of the shared cluster's first gateway."""
    async with Client(cluster.gateway) as opened:
        yield opened


@pytest.fixture
def start_cluster(cluster: LocalCluster, tmp_path: Path) -> Iterator[StartCluster]:
    """Starts clusters that a test may harm, over the shared cluster's store.

    `start_cluster(topology, overrides, store=…)`. A topology without encoders is served by the shared cluster's, which
    saves the time that it takes to load a model.
    """
    with ExitStack() as running:

        def start(topology: Topology, overrides: Overrides | None = None, store: str | None = None) -> LocalCluster:
            told = {role: dict(settings) for role, settings in (overrides or {}).items()}
            if not topology.encoders:
                told["gateway"] = {"encoders": ",".join(cluster.addresses("encoder")), **told.get("gateway", {})}
            started = LocalCluster(
                store=store or cluster.store,
                model=str(MODEL),
                run_dir=tmp_path / f"run-{len(list(tmp_path.iterdir()))}",
                topology=topology,
                overrides=told,
            )
            running.enter_context(started)
            if store is None:
                # In a thread of its own, since the test may be a coroutine.
                ThreadPoolExecutor(1).submit(wait_visible, started).result()
            return started

        yield start

"""What tests of all kinds share: a real Redis, a real S3, and a small model that is exported."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

# Read by libraries when they are loaded: tests share the cores with the processes that they start.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from benchmarks import s3_server
from benchmarks.s3_server import S3Server
from services.local import ports
from services.local.cluster import LocalCluster
from services.local.ports import HOST, free_ports
from services.local.topology import redis_spec


def pytest_configure(config: pytest.Config) -> None:
    """Gives those from the caller's side and the others halves of the ports: both may run at the same time, and a
    port must still be free when its process starts again."""
    middle = (ports.FIRST + ports.LAST) // 2
    if any("e2e" in Path(argument).parts for argument in config.args):
        ports.LAST = middle
    else:
        ports.FIRST = middle


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out the tests that need a Kubernetes cluster, unless they are asked for by name."""
    asked = any("cluster" in Path(argument).parts for argument in config.args)
    return True if collection_path.name == "cluster" and not asked else None


class RedisServer:
    """A redis-server of our own: a cache without files, on a free port."""

    def __init__(self, folder: Path) -> None:
        self.address = f"{HOST}:{free_ports(1)[0]}"
        self.url = f"redis://{self.address}/0"
        self._processes = LocalCluster.of([redis_spec(self.address, folder)], folder)

    def __enter__(self) -> RedisServer:
        self._processes.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def kill(self) -> None:
        """Kills it: connections are refused."""
        self._processes.kill("redis")

    def stop(self) -> None:
        """Makes it hang: connections stay open and nothing answers."""
        self._processes.stop("redis")

    def restore(self) -> None:
        """Undoes `kill` and `stop`. What it held is gone after the first."""
        if self._processes.processes["redis"].is_running:
            self._processes.resume("redis")
        else:
            self._processes.restart("redis")
        self._processes.wait_ready("redis")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis that tests share, and leave running."""
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def fresh_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], RedisServer]]:
    """Starts a Redis that a test may harm."""
    with ExitStack() as started:
        yield lambda: started.enter_context(RedisServer(tmp_path_factory.mktemp("redis")))


@pytest.fixture(scope="session")
def s3_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that speaks S3, which tests share, and leave running."""
    if why := s3_server.missing():
        pytest.skip(why)
    with S3Server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture
def s3(s3_process: S3Server) -> Iterator[S3Server]:
    """The shared S3 server; while the test runs, the environment leads s3fs and started processes to it."""
    with s3_server.environment(s3_process.environment):
        yield s3_process


@pytest.fixture
def bucket(s3: S3Server) -> str:
    """The name of an empty bucket of the test's own."""
    return s3_server.bucket()


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of a small CLIP with random weights, whose source lies beside it in `source`. Not to be changed."""
    from tests.tiny_clip import tiny_export  # noqa: PLC0415 - loads torch, for those alone who ask

    return tiny_export(tmp_path_factory.mktemp("exported"))

"""Builds over real searchers: two groups, each a process. What a group refuses is a matter of `test_flips.py`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from services.indexer.__main__ import app
from services.local.ports import free_ports
from services.store import Store
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from sightline.v1 import common_pb2
from tests.unit.indexer_fakes import DIMENSION, picture_bytes, seeded_vector

CHECKOUT = Path(__file__).parents[2]
START_SECONDS = 180
MODEL = common_pb2.Model(name="fake", digest="d1", dimension=DIMENSION)


class Encoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Stands for an encoder: gives each picture the vector that its pixels seed."""

    def Describe(self, request: Any, context: Any) -> encoder_pb2.DescribeResponse:
        return encoder_pb2.DescribeResponse(
            model=MODEL, image_height=8, image_width=8, resize_mode="shortest", interpolation="bicubic"
        )

    def Encode(self, request: Any, context: Any) -> encoder_pb2.EncodeResponse:
        vectors = [seeded_vector(np.frombuffer(item.pixels, np.uint8)) for item in request.items]
        return encoder_pb2.EncodeResponse(vectors=np.array(vectors).astype("<f4").tobytes(), model=MODEL)


class Service:
    """A process that can be killed and started again on the same port."""

    def __init__(self, kind: str, folder: Path, **settings: object) -> None:
        port, health = free_ports(2)
        self.address = f"127.0.0.1:{port}"
        self._command = [sys.executable, "-m", f"services.{kind}"]
        self._ready = f"http://127.0.0.1:{health}/readyz"
        self._log = folder / f"{kind}-{port}.log"
        settings |= {"listen": self.address, "health_listen": f"127.0.0.1:{health}"}
        self._environment = {f"SIGHTLINE_{name.upper()}": str(value) for name, value in settings.items()}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and waits until it is ready."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=CHECKOUT,
                env={**os.environ, **self._environment, "OMP_NUM_THREADS": "1"},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        until = time.monotonic() + START_SECONDS
        while time.monotonic() < until:
            if self._is_ready():
                return
            assert self._process.poll() is None, self._log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"not ready: {self._log.read_text()}")

    def kill(self) -> None:
        """Ends it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(self._ready, timeout=1):
                return True
        except (urllib.error.URLError, OSError):
            return False


@dataclass
class Cluster:
    """Two groups of one searcher each, an encoder, a store, and pictures to index."""

    store: Path
    photos: Path
    encoder: str
    searchers: list[Service]

    def run(self, command: str, *arguments: str) -> Result:
        """Runs a command of the indexer on the collection."""
        searchers = ",".join(searcher.address for searcher in self.searchers)
        return run(command, *arguments, store=self.store, encoders=self.encoder, searchers=searchers)

    def build(self, *arguments: str) -> None:
        """Builds the next generation."""
        result = self.run("build", str(self.photos), *arguments)
        assert result.exit_code == 0, result.output

    def pointers(self) -> tuple[int, int, int | None]:
        """CURRENT, the one before (0: none), NEXT."""
        found = Store(str(self.store)).pointers("birds")
        assert found.current is not None
        return found.current.generation, found.current.previous, found.next


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    photos = tmp_path / "photos"
    photos.mkdir()
    for i in range(12):
        (photos / f"{i}.png").write_bytes(picture_bytes(grey=i))
    server = grpc.server(ThreadPoolExecutor(4))
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(Encoder(), server)
    encoder = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    store = tmp_path / "store"
    store.mkdir()
    searchers = [
        Service(
            "searcher", tmp_path, store=store, group=group, groups=2, poll_seconds=0.1, cache_dir=tmp_path / f"c{group}"
        )
        for group in range(2)
    ]
    try:
        for searcher in searchers:
            searcher.start()
        yield Cluster(store, photos, encoder, searchers)
    finally:
        for searcher in searchers:
            searcher.kill()
        server.stop(None)


def test_a_group_that_is_gone_keeps_current(cluster: Cluster) -> None:
    """While a whole group is gone nothing is published; when it is back, the same command publishes."""
    cluster.build("--publish")
    cluster.searchers[1].kill()
    cluster.build()
    late = cluster.run("publish", "--timeout", "2")
    assert late.exit_code == 1
    assert "group 1: 0 of 1 serve it" in late.output
    assert f"{cluster.searchers[1].address} does not answer" in late.output
    assert cluster.pointers() == (1, 0, 2)
    cluster.searchers[1].start()
    assert cluster.run("publish").exit_code == 0
    assert cluster.pointers() == (2, 1, None)


def run(command: str, *arguments: str, store: Path, encoders: str, searchers: str = "") -> Result:
    """Runs a command of the indexer on the collection `birds`, configured by the environment."""
    environment = {
        "SIGHTLINE_STORE": str(store),
        "SIGHTLINE_ENCODERS": encoders,
        "SIGHTLINE_SEARCHERS": searchers,
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, [command, *arguments, "--collection", "birds"], env=environment)

"""A short sample of the bar `object-store`: a real S3 server, real processes, and the failures that hurt most."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import bucket_pictures, object_store, s3_server
from benchmarks.emoji import some
from benchmarks.faulty import FaultyProxy
from benchmarks.proof import Proof
from benchmarks.stage import Stage
from services.local.cluster import LocalCluster


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FaultyProxy]:
    """The way to a server of our own, which can be made to fail; the environment leads there."""
    if why := s3_server.missing():
        pytest.skip(why)
    with object_store.failing_s3(tmp_path_factory.mktemp("s3")) as failing:
        yield failing


@pytest.fixture
def stage(proxy: FaultyProxy, tmp_path: Path) -> Iterator[Stage]:
    """A cluster whose store is a bucket."""
    with object_store.on_s3(tmp_path, seconds=1, images=300) as running:
        yield running


@pytest.fixture
def proof() -> Iterator[Proof]:
    """Nothing may be at fault in the end."""
    seen = Proof()
    yield seen
    assert seen.faults == []


def test_pictures_in_buckets_are_indexed_and_found(
    cluster: LocalCluster, all_pictures: Path, proxy: FaultyProxy, proof: Proof, tmp_path: Path
) -> None:
    """Pictures that a table names in a bucket are found in a store in a bucket; and where a bucket fails in the middle
    of a build, there is no generation with half of them."""
    pictures = some(all_pictures, 90, tmp_path)
    encoder = cluster.addresses("encoder")[0]
    bucket_pictures.prove(pictures, encoder, proxy, proof, tmp_path, places=["bucket"])


async def test_a_store_that_fails_takes_nothing_away(stage: Stage, proxy: FaultyProxy, proof: Proof) -> None:
    """While a bucket answers with errors to searchers and to uploads, what was served is served on, nothing else is,
    and it goes on by itself afterwards; a searcher that is restarted while the store hangs serves again."""
    await object_store.while_loading(stage, proxy, proof, "error")
    await object_store.while_building(stage, proxy, proof, "error")
    await object_store.restarted(stage, proxy, proof)


def test_of_two_committers_one_wins(proxy: FaultyProxy, proof: Proof) -> None:
    """CURRENT is moved by one of two committers, and the other is told."""
    object_store.prove_race(proof, 3)

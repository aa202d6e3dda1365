"""Several collections in one live cluster."""

from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.emoji import index_into, read, some
from services.indexer.__main__ import app
from services.local.cluster import LocalCluster
from services.local.topology import Topology
from sightline import NotFound, SyncClient, attribute
from tests.e2e.conftest import StartCluster

SECONDS = 20


def _catalogue(pictures: Path, folder: Path) -> Path:
    """A table of the same pictures with other attributes, one of them under the same name, of another type."""
    written = folder / "catalogue.csv"
    with written.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["url", "id", "caption", "group", "price"])
        for number, one in enumerate(read(pictures)):
            rows.writerow([one.file, one.id, one.caption, number % 3, number / 2 if number % 2 else ""])
    return written


def test_collections_are_filtered_and_dropped_one_without_the_other(
    all_pictures: Path, cluster: LocalCluster, start_cluster: StartCluster, tmp_path: Path
) -> None:
    """Two collections are built into one running cluster, each filtered by the types of its own attributes. When one is
    dropped, the gateway no longer knows it, and the other answers as before."""
    polls = {"poll_seconds": 0.2}
    live = start_cluster(
        Topology(groups=2, encoders=0, redis=False), {"gateway": polls, "searcher": polls}, str(tmp_path / "store")
    )
    pictures = some(all_pictures, 40, tmp_path)
    encoders = cluster.addresses("encoder")
    index_into(live, pictures, encoders=encoders)
    index_into(live, _catalogue(pictures, tmp_path), collection="catalogue", encoders=encoders)
    many = len(read(pictures))

    with SyncClient(live.gateway) as client:
        flags = client.search(
            "a flag", collection="emoji", top_k=many, filter=attribute("group").equals("Flags"), timeout=SECONDS
        )
        assert {hit.image.attributes["group"] for hit in flags} == {"Flags"}
        assert flags.coverage.images_matched == len(flags) > 0

        cheap = attribute("group").equals(1) & attribute("price").between(less_than=10)
        found = client.search("a flag", collection="catalogue", top_k=many, filter=cheap, timeout=SECONDS)
        assert {hit.image.attributes["price"] for hit in found} == {0.5, 3.5, 6.5, 9.5}
        assert (found.coverage.images_searched, found.coverage.images_matched) == (many, 4)

        arguments = ["drop", "--store", live.store, "--collection", "catalogue", "--yes"]
        assert CliRunner().invoke(app, arguments).exit_code == 0
        _wait_unknown(client, "catalogue")
        assert [one.name for one in client.collections()] == ["emoji"]
        again = client.search("a flag", top_k=many, filter=attribute("group").equals("Flags"), timeout=SECONDS)
        assert [hit.id for hit in again] == [hit.id for hit in flags]


def _wait_unknown(client: SyncClient, collection: str) -> None:
    until = time.monotonic() + SECONDS
    while time.monotonic() < until:
        try:
            client.search("a flag", collection=collection)
        except NotFound:
            return
        time.sleep(0.1)
    pytest.fail(f"{collection} is still known after {SECONDS} s")

"""The emoji as every bar uses them: drawn once, indexed by the indexer's own command, searched in a local cluster."""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from services.local.cluster import LocalCluster
from services.local.topology import Topology
from services.store import Store
from sightline import Client
from sightline.errors import SightlineError
from training.emoji import render

CHECKOUT = Path(__file__).resolve().parents[1]
MODEL = CHECKOUT / "models" / "emoji"
# The demonstration's folder: drawing takes a while, and the same files serve both.
PICTURES = CHECKOUT / ".cache" / "demo" / "pictures"
COLLECTION = "emoji"

_VISIBLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Emoji:
    """One picture: its id, its file, its English name."""

    id: str
    file: Path
    caption: str


def draw() -> Path:
    """Draws the pictures where they are not drawn yet; returns the list of them, as the indexer reads it."""
    render(PICTURES)
    return PICTURES / "images.jsonl"


def read(source: Path) -> list[Emoji]:
    """Returns what a list of pictures names, in its order."""
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    return [Emoji(line["id"], source.parent / line["uri"], line["caption"]) for line in lines]


def some(source: Path, every: int, folder: Path) -> Path:
    """Writes a shorter list into a folder, of every n-th picture of another list; returns it."""
    lines = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
    chosen = [line | {"uri": str(source.parent / line["uri"])} for line in itertools.islice(lines, 0, None, every)]
    written = folder / "images.jsonl"
    written.write_text("".join(json.dumps(line) + "\n" for line in chosen), encoding="utf-8")
    return written


@contextmanager
def encoding(run_dir: Path) -> Iterator[str]:
    """An encoder with the bundled model, and nothing else; yields its host:port."""
    alone = Topology(groups=0, gateways=0, redis=False)
    with LocalCluster(store="", model=str(MODEL), run_dir=run_dir, topology=alone) as cluster:
        yield cluster.addresses("encoder")[0]


def index(
    source: Path | str,
    store: str,
    *,
    encoders: Sequence[str],
    collection: str = COLLECTION,
    shards: int = 4,
    scope: str = COLLECTION,
    searchers: Sequence[str] = (),
) -> str:
    """Builds and publishes a generation; returns what the indexer said.

    Args:
        source: a folder or a list of pictures.
        store: folder of the store.
        encoders: host:port of each.
        scope: what the pictures are declared to be; nothing where it is empty.
        searchers: host:port of those that must serve it before it is published; nobody is asked where there are none.

    Raises:
        RuntimeError: the indexer failed; the message is what it said.
    """
    command = [sys.executable, "-m", "services.indexer", "build", str(source), "--publish"]
    command += ["--store", store, "--collection", collection, "--shards", str(shards), "--encoder", ",".join(encoders)]
    command += ["--scope", scope] if scope else []
    command += ["--searchers", ",".join(searchers)] if searchers else ["--unchecked"]
    done = subprocess.run(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"the indexer ended with {done.returncode}:\n{done.stdout}")
    return done.stdout


def index_into(
    cluster: LocalCluster,
    source: Path | str,
    *,
    collection: str = COLLECTION,
    shards: int = 4,
    scope: str = COLLECTION,
    encoders: Sequence[str] = (),
) -> str:
    """Builds and publishes with a cluster's searchers, and its encoders or others, and waits until its gateways
    answer."""
    said = index(
        source,
        cluster.store,
        encoders=encoders or cluster.addresses("encoder"),
        searchers=cluster.addresses("searcher"),
        collection=collection,
        shards=shards,
        scope=scope,
    )
    wait_visible(cluster, collection)
    return said


def wait_visible(cluster: LocalCluster, collection: str = COLLECTION) -> None:
    """Waits until every gateway answers from the current generation. Raises TimeoutError."""
    pointer = Store(cluster.store).pointers(collection).current
    asyncio.run(_wait_visible(cluster.gateways, collection, pointer.generation if pointer else 0))


async def _wait_visible(gateways: Sequence[str], collection: str, generation: int) -> None:
    until = time.monotonic() + _VISIBLE_SECONDS
    for gateway in gateways:
        async with Client(gateway) as client:
            while not await _answers(client, collection, generation):
                if time.monotonic() > until:
                    raise TimeoutError(f"{gateway} does not answer from generation {generation} of {collection}")
                await asyncio.sleep(0.05)


async def _answers(client: Client, collection: str, generation: int) -> bool:
    try:
        result = await client.search("apple", collection=collection, top_k=1)
    except SightlineError:
        return False
    return result.generation == generation and result.coverage.complete

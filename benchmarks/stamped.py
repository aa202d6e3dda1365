"""A collection that a test can change again and again: every vector and every document tells its generation.

Its pictures are random vectors, so that nothing has to be encoded to build it; its model is whichever the encoders
serve, so that it can be asked with texts all the same.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path

import grpc
import numpy as np
from PIL import Image

from benchmarks.emoji import CHECKOUT
from benchmarks.oracle import Oracle, Vectors, unit
from services.index import Row, train, write_shard
from services.local.cluster import LocalCluster
from services.pictures import thumbnail
from services.runtime.calls import call
from services.store import Model, Pointer, Store, shard_of
from sightline import Client, SearchResult
from sightline.errors import SightlineError
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from sightline.v1 import common_pb2

COLLECTION = "stamped"
VISIBLE_SECONDS = 60.0

DOT = thumbnail(Image.new("RGB", (8, 8), "red"))
"""The thumbnail of each of its pictures."""

SMALL = Model("random", "5eed" * 4, 32)
"""For a collection that is asked without texts."""


@dataclass(slots=True)
class Stamped:
    """Builds generations, and knows the right answers of all of them.

    Args:
        store: where to build.
        model: whose vectors they pretend to be.
        images: in each generation.
        shards: of each generation.
        groups: of the searchers that will serve it.
    """

    store: Store
    model: Model
    images: int = 2000
    shards: int = 4
    groups: int = 2
    oracles: dict[int, dict[tuple[int, int], Oracle]] = field(default_factory=dict, repr=False)

    def build(self, model: Model | None = None) -> int:
        """Builds the next generation, to which nothing points yet; returns its number."""
        draft = self.store.begin(COLLECTION)
        ids = [f"image-{number:06d}" for number in range(self.images)]
        drawn = np.random.default_rng(draft.generation).standard_normal((self.images, self.model.dimension))
        vectors = np.asarray(unit(drawn), np.float32)
        document = {one: _document(one, draft.generation) for one in ids}
        for shard in range(self.shards):
            rows = [
                Row(one, vectors[place], document[one], DOT)
                for place, one in enumerate(ids)
                if shard_of(one, self.shards) == shard
            ]
            trained = train("Flat", self.model.dimension, vectors)
            draft.seal(shard, write_shard(draft.folder(shard), rows, trained))
        draft.publish(model or self.model)
        self.oracles[draft.generation] = dict(self._oracles(ids, unit(vectors)))
        return draft.generation

    def start_with(self, generation: int) -> None:
        """Makes the first generation CURRENT, where no searcher has to be asked."""
        self.store.commit_current(COLLECTION, self.store.pointers(COLLECTION).current, Pointer(generation))

    def current(self) -> int:
        """Returns which generation is CURRENT; 0 where none is."""
        pointer = self.store.pointers(COLLECTION).current
        return pointer.generation if pointer else 0

    def judge(self, result: SearchResult, query: Vectors, k: int) -> list[str]:
        """Returns what is wrong with an answer, by brute force over exactly the shards that it claims.

        Args:
            result: the answer; to a partial one, any whole groups may be missing.
            query: unit, float64 [d].
            k: how many hits were asked for.
        """
        stamps = {hit.image.attributes.get("generation") for hit in result.hits if hit.image.attributes}
        if len(stamps) > 1 or (stamps and stamps != {result.generation}):
            return [f"MIXED: an answer of generation {result.generation} has pictures of {sorted(map(str, stamps))}"]
        claimed = (result.coverage.shards_answered, result.coverage.images_searched)
        oracle = self.oracles.get(result.generation, {}).get(claimed)
        if oracle is None:
            return [f"no groups of generation {result.generation} have {claimed} shards and images"]
        return list(oracle.judge(result, query, k).faults)

    def vector(self, generation: int, identifier: str) -> Vectors:
        """Returns the unit vector, float64 [d], of a picture."""
        return self._whole(generation).vector(identifier)

    def ids(self) -> list[str]:
        """Returns the ids, which all generations have in common."""
        return self._whole(next(iter(self.oracles))).ids

    def folder(self, generation: int, shard: int) -> Path:
        """Returns the folder of a shard, to harm it."""
        folder = self.store.local_folder(COLLECTION, generation, shard)
        assert folder, "the store is a local folder"
        return folder

    def _whole(self, generation: int) -> Oracle:
        return self.oracles[generation][self.shards, self.images]

    def _oracles(self, ids: Sequence[str], vectors: Vectors) -> Iterator[tuple[tuple[int, int], Oracle]]:
        """An oracle for every choice of groups, by how many shards and images these have."""
        group_of = np.array([shard_of(one, self.shards) % self.groups for one in ids])
        for size in range(1, self.groups + 1):
            for chosen in combinations(range(self.groups), size):
                places = np.flatnonzero(np.isin(group_of, chosen))
                shards = sum(shard % self.groups in chosen for shard in range(self.shards))
                yield (shards, len(places)), Oracle([ids[place] for place in places.tolist()], vectors[places])


def flip_a_bit(file: Path) -> None:
    """Harms a file as a bad disk does."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def truncate(file: Path) -> None:
    """Cuts off the last quarter of a file."""
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 3 // 4])


def indexer(command: str, cluster: LocalCluster, *arguments: str) -> tuple[int, str]:
    """Runs a command of the indexer on the collection; returns its exit code and what it said."""
    line = [sys.executable, "-m", "services.indexer", command, "--store", cluster.store, "--collection", COLLECTION]
    line += ["--searchers", ",".join(cluster.addresses("searcher")), "--timeout", "60", *arguments]
    done = subprocess.run(line, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


async def served_model(encoder: str) -> Model:
    """Returns the model that an encoder serves."""
    async with grpc.aio.insecure_channel(encoder) as channel:
        stub = encoder_pb2_grpc.EncoderServiceStub(channel)
        deadline = asyncio.get_running_loop().time() + 10
        described = (await call(stub.Describe, encoder_pb2.DescribeRequest(), deadline)).model
    return Model(described.name, described.digest, described.dimension)


async def wait_visible(gateways: Sequence[str], generation: int, dimension: int) -> float:
    """Waits until every gateway answers from all shards of a generation; returns the seconds that it took.

    Raises:
        TimeoutError: one does not.
    """
    began = time.monotonic()
    for gateway in gateways:
        async with Client(gateway) as client:
            while not await _answers(client, generation, dimension):
                if time.monotonic() - began > VISIBLE_SECONDS:
                    raise TimeoutError(f"{gateway} does not answer from all of generation {generation}")
                await asyncio.sleep(0.05)
    return time.monotonic() - began


async def _answers(client: Client, generation: int, dimension: int) -> bool:
    # Another question each time, which no other gateway can have left the answer of in Redis.
    question = np.random.default_rng().standard_normal(dimension)
    try:
        result = await client.search(question, collection=COLLECTION, top_k=1)
    except SightlineError:
        return False
    return result.generation == generation and result.coverage.complete


def _document(identifier: str, generation: int) -> bytes:
    stamp = {"generation": common_pb2.Value(int_value=generation)}
    image = common_pb2.Image(id=identifier, caption=f"{identifier} of generation {generation}", attributes=stamp)
    return image.SerializeToString(deterministic=True)

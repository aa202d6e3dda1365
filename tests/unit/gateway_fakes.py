"""The gateway's neighbours, in memory: what the unit tests of services/gateway are put together from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from services.gateway.answers import GroupHits, Source
from services.gateway.questions import Picture, Question, Text, WeightedTerm
from services.gateway.vectors import Vector, unit
from services.store import ATTRIBUTES_FILE, AttributeField, File, Manifest, Model, Shard
from sightline.errors import NotFound, SightlineError
from sightline.filters import Filter

MODEL = Model("tiny", "d1", 2)


def manifest(generation: int = 1, shards: int = 2, collection: str = "pets") -> Manifest:
    """Returns a manifest of 10 images a shard, of which 5 have a year."""
    files = (File(ATTRIBUTES_FILE, 1, "0" * 64),)
    of = tuple(Shard(index, 10, files) for index in range(shards))
    years = AttributeField("year", "int", 5 * shards)
    return Manifest(collection, generation, MODEL, 10 * shards, of, attributes=(years,))


def question(text: str = "dog", **changes: object) -> Question:
    """Returns a question for a text."""
    given: dict[str, object] = {"collection": "pets", "terms": (WeightedTerm(1.0, Text(text), "query.text"),), "k": 3}
    return Question(**{**given, **changes})  # type: ignore[arg-type]


def group(*hits: tuple[float, bytes], shard: int = 0) -> GroupHits:
    """Returns the hits of one group that serves one shard."""
    return GroupHits(
        scores=np.array([score for score, _ in hits], dtype=np.float32),
        rows=np.array([shard << 32 | row for row in range(len(hits))], dtype=np.uint64),
        ids=[identifier for _, identifier in hits],
        documents=[b"doc:" + identifier for _, identifier in hits],
        shards=1,
        images=10,
        matched=10,
    )


class Collections:
    """Knows one collection, whose generation can be moved."""

    def __init__(self) -> None:
        self.manifest = manifest()
        self.after_refresh = self.manifest

    async def resolve(self, collection: str, generation: int, deadline: float) -> Manifest:
        if collection not in ("", self.manifest.collection):
            raise NotFound(f"there is no collection {collection!r}", field="collection")
        return self.manifest if not generation else manifest(generation)

    async def refresh(self, deadline: float) -> None:
        self.manifest = self.after_refresh


class Encoder:
    """Encodes each text as (length, 1), made unit; counts, and waits at a gate."""

    def __init__(self) -> None:
        self.encoded: list[str] = []
        self.read_as = ""
        self.wanted: list[str | None] = []
        self.gate = asyncio.Event()
        self.gate.set()

    def reading(self, digest: str) -> str:
        return self.read_as

    async def encode(
        self, term: Text | Picture, *, digest: str, field: str, deadline: float, reading: str | None = None
    ) -> Vector:
        assert isinstance(term, Text)
        self.encoded.append(term.text)
        self.wanted.append(reading)
        await self.gate.wait()
        return unit(np.array([len(term.text), 1.0]), field)


class Searchers:
    """Answers with what it is given, group by group."""

    def __init__(self, *answers: GroupHits | SightlineError) -> None:
        self.answers: Sequence[GroupHits | SightlineError] = answers
        self.asked: list[tuple[int, int, bool]] = []
        self.conditions: list[Filter | None] = []
        self.fetched: list[Sequence[int]] = []
        self.lost: set[int] = set()

    async def search(
        self,
        manifest: Manifest,
        vector: Vector,
        k: int,
        *,
        documents: bool,
        deadline: float,
        condition: Filter | None = None,
    ) -> Sequence[GroupHits | SightlineError]:
        self.asked.append((manifest.generation, k, documents))
        self.conditions.append(condition)
        if documents:
            return self.answers
        return [replace(one, documents=[]) if isinstance(one, GroupHits) else one for one in self.answers]

    async def documents(self, manifest: Manifest, rows: Sequence[int], *, deadline: float) -> Mapping[int, bytes]:
        self.fetched.append(rows)
        return {row: b"row:%d" % row for row in rows if row not in self.lost}

    async def vector(self, manifest: Manifest, identifier: str, *, field: str, deadline: float) -> Vector:
        if identifier != "known":
            raise NotFound("no such image", field=field)
        return np.array([0.0, 1.0], dtype=np.float32)


class Cache:
    """A dictionary."""

    def __init__(self) -> None:
        self.bodies: dict[bytes, bytes] = {}

    async def get(self, key: bytes) -> tuple[bytes, Source] | None:
        return (self.bodies[key], Source.LOCAL) if key in self.bodies else None

    def peek(self, key: bytes) -> bytes | None:
        return self.bodies.get(key)

    def put(self, key: bytes, body: bytes) -> None:
        self.bodies[key] = body

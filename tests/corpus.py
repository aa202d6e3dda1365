"""A small collection that tests build, publish and know the right answers of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
from numpy.typing import NDArray

from services.index import Row, train, write_shard
from services.runtime.ranking import sort_keys
from services.store import AttributeField, Manifest, Model, Pointer, Store, shard_of
from sightline._filtering import meets
from sightline.filters import AttributeValue, Filter

MODEL = Model("random", "0123456789abcdef", 32)

TYPES = {"group": "string", "year": "int", "price": "double", "fast": "bool", "tags": "strings"}

Vectors = NDArray[np.float32]


def unit_vectors(count: int, dimension: int = MODEL.dimension, *, seed: int = 0) -> Vectors:
    """Returns random unit vectors, float32 [count, dimension]."""
    drawn = np.random.default_rng(seed).standard_normal((count, dimension))
    unit: Vectors = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    return unit


@dataclass(frozen=True)
class Corpus:
    """Images by id, and brute force over them.

    Attributes:
        ids: in any order.
        vectors: float32 [n, dimension], of the same order.
        attributes: of the same order; empty where no image has any.
        types: of the attributes, by name.
    """

    ids: Sequence[str]
    vectors: Vectors = field(repr=False)
    attributes: Sequence[Mapping[str, AttributeValue]] = field(repr=False, default=())
    types: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def random(cls, count: int, *, seed: int = 0, dimension: int = MODEL.dimension) -> Corpus:
        """Returns `count` images with random vectors, some of which are the same, and ids that are not all ASCII."""
        vectors = unit_vectors(count, dimension, seed=seed)
        vectors[count // 2 : count // 2 + count // 10] = vectors[count // 2]
        return cls(
            [f"{'é' if number % 7 == 0 else 'image'}/{number * 37 % count:05d}" for number in range(count)], vectors
        )

    @classmethod
    def described(cls, count: int, *, seed: int = 0) -> Corpus:
        """Returns `count` random images with attributes of every type, each of which some of them lack."""
        plain, drawn = cls.random(count, seed=seed), Random(seed)
        return cls(plain.ids, plain.vectors, [_attributes(drawn) for _ in range(count)], TYPES)

    def schema(self) -> list[AttributeField]:
        """Returns what the manifest says of the attributes."""
        return [AttributeField(name, kind, len(self.ids)) for name, kind in self.types.items()]

    def meeting(self, condition: Filter) -> Corpus:
        """Returns the images that meet a filter."""
        kept = [place for place, one in enumerate(self.attributes) if meets(one, condition)]
        return Corpus([self.ids[place] for place in kept], self.vectors[kept])

    def document(self, identifier: str) -> bytes:
        """Returns what is stored as the document of an image."""
        return f"document of {identifier}".encode()

    def rows(self, shard: int, shards: int) -> list[Row]:
        """Returns the rows of a shard by id."""
        chosen = [place for place, one in enumerate(self.ids) if shard_of(one, shards) == shard]
        chosen.sort(key=lambda place: self.ids[place].encode())
        return [self._row(place) for place in chosen]

    def _row(self, place: int) -> Row:
        attributes = self.attributes[place] if self.attributes else {}
        return Row(self.ids[place], self.vectors[place], self.document(self.ids[place]), b"thumbnail", attributes)

    def best(self, query: Vectors, k: int) -> tuple[list[bytes], list[float]]:
        """Returns the ids and the scores of the best `k` by brute force in float64."""
        scores = (self.vectors.astype(np.float64) @ query.astype(np.float64)).astype(np.float32)
        keys = sort_keys(scores).tolist()
        order = sorted(range(len(self.ids)), key=lambda place: (keys[place], self.ids[place].encode()))[:k]
        return [self.ids[place].encode() for place in order], [float(scores[place]) for place in order]


def _attributes(drawn: Random) -> dict[str, AttributeValue]:
    every: dict[str, AttributeValue] = {
        "group": drawn.choice(["fruit", "car", "Änderung", "猫"]),
        "year": drawn.choice([0, -1, 1999, 2**53 + 1, 2**63 - 1, -(2**63)]),
        "price": drawn.choice([0.0, -0.0, 0.5, 9.5, 1999.0, 2.0**53, 1e300]),
        "fast": drawn.random() < 0.5,
        "tags": tuple(drawn.sample(["sweet", "soft", "red", ""], drawn.randrange(4))),
    }
    return {name: value for name, value in every.items() if drawn.random() < 0.8}


def write(
    store: Store, collection: str, corpus: Corpus, *, shards: int = 1, index: str = "Flat", model: Model = MODEL
) -> Manifest:
    """Builds the next generation of a collection, to which nothing points yet."""
    draft = store.begin(collection)
    trained = train(index, corpus.vectors.shape[1], corpus.vectors)
    for shard in range(shards):
        draft.seal(shard, write_shard(draft.folder(shard), corpus.rows(shard, shards), trained, corpus.types))
    return draft.publish(model, index=index, attributes=corpus.schema())


def flip(store: Store, collection: str, generation: int) -> Pointer:
    """Makes a generation CURRENT."""
    before = store.pointers(collection).current
    after = Pointer(generation, before.generation if before else 0)
    store.commit_current(collection, before, after)
    return after


def publish(store: Store, collection: str, corpus: Corpus, *, shards: int = 1, model: Model = MODEL) -> Manifest:
    """Builds a generation and makes it CURRENT."""
    manifest = write(store, collection, corpus, shards=shards, model=model)
    flip(store, collection, manifest.generation)
    return manifest

"""Questions of every kind, each with the vector that it stands for by EmbedService and float64."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.emoji import read
from benchmarks.oracle import Oracle, Vectors, unit
from sightline import Client, ImageId, SearchRequest, Weighted, vector
from sightline.queries import QueryLike

KS = (1, 10, 100, 1000)
SEED = 11
_EMBEDDED_TOGETHER = 128

Part = tuple[QueryLike, Vectors]


@dataclass(frozen=True)
class Question:
    """One query of a kind, and the unit vector, float64 [d], that it stands for."""

    kind: str
    request: SearchRequest
    vector: Vectors = field(repr=False)


async def oracle_of(client: Client, source: Path) -> Oracle:
    """Embeds the pictures of a list."""
    pictures = read(source)
    files = [picture.file.read_bytes() for picture in pictures]
    return Oracle([picture.id for picture in pictures], await embedded(client, images=files))


async def questions(client: Client, oracle: Oracle, texts: Sequence[str], files: Sequence[bytes]) -> list[Question]:
    """Returns five kinds of questions, as many of each as there are texts, and of files; each kind asks for every k."""
    chance = random.Random(SEED)
    parts: dict[str, list[Part]] = {
        "text": list(zip(texts, await embedded(client, texts=texts), strict=True)),
        "image": list(zip(files, await embedded(client, images=files), strict=True)),
        "id": [(ImageId(one), oracle.vector(one)) for one in chance.choices(oracle.ids, k=len(texts))],
        "vector": [(vector(given), unit(given)) for given in _vectors(chance, oracle, len(texts))],
    }
    pool = [part for kind in parts.values() for part in kind]
    parts["weighted"] = [_mixture(chance, pool) for _ in texts]
    found = [
        Question(kind, SearchRequest(query, top_k=KS[place % len(KS)]), exact)
        for kind, of_kind in parts.items()
        for place, (query, exact) in enumerate(of_kind)
    ]
    chance.shuffle(found)
    return found


def _vectors(chance: random.Random, oracle: Oracle, count: int) -> list[NDArray[np.float32]]:
    """Vectors of any length: half of any direction, half near a picture, where scores lie close together."""
    noise = np.random.default_rng(SEED).standard_normal((count, oracle.dimension))
    near = [oracle.vector(one) for one in chance.choices(oracle.ids, k=count)]
    directions = [row if at % 2 else near[at] + row / 50 for at, row in enumerate(noise)]
    return [np.asarray(chance.uniform(0.01, 100) * row, np.float32) for row in directions]


def _mixture(chance: random.Random, pool: Sequence[Part]) -> Part:
    """Two to four parts of any kind, some of which are steered away from."""
    parts = chance.sample(pool, chance.randint(2, 4))
    weights = [1.0, *(chance.choice((0.5, 0.3, -0.3)) for _ in parts[1:])]
    exact = np.asarray(weights, np.float32).astype(np.float64) @ np.stack([one for _, one in parts])
    return Weighted([(weight, query) for weight, (query, _) in zip(weights, parts, strict=True)]), unit(exact)


async def embedded(client: Client, *, texts: Sequence[str] = (), images: Sequence[bytes] = ()) -> Vectors:
    """Returns the unit vectors, float64 [n, d], of texts and then of picture files, by EmbedService."""
    step = _EMBEDDED_TOGETHER
    rows = [await client.embed(texts=texts[at : at + step]) for at in range(0, len(texts), step)]
    rows += [await client.embed(images=images[at : at + step]) for at in range(0, len(images), step)]
    return unit(np.concatenate(rows))

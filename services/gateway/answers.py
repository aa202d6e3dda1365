"""What the gateway answers, before it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from services.store import Model


@dataclass(frozen=True, slots=True)
class GroupHits:
    """The best hits of one searcher group, as parallel arrays.

    Attributes:
        scores: float32 [n], best first.
        rows: uint64 [n], shard << 32 | row.
        ids: UTF-8.
        documents: serialised sightline.v1.Image, or empty where not asked for.
        shards: how many shards the group searched.
        images: how many images are in them.
        matched: how many of those meet the filter.
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.uint64]
    ids: Sequence[bytes]
    documents: Sequence[bytes]
    shards: int
    images: int
    matched: int


@dataclass(frozen=True, slots=True)
class Hit:
    """One image found: its id (UTF-8), score, row (shard << 32 | row), and serialised sightline.v1.Image if wanted."""

    id: bytes
    score: float
    row: int
    document: bytes = b""


@dataclass(frozen=True, slots=True)
class Answer:
    """The part of an answer that is the same for every caller; `degraded` holds (reason, sentence)."""

    hits: Sequence[Hit]
    shards_asked: int
    shards_answered: int
    images_searched: int
    images_matched: int
    degraded: Sequence[tuple[str, str]]
    model: Model
    generation: int


class Source(Enum):
    """Where an answer came from; the numbers are those of sightline.v1.CacheState."""

    MISS = 1
    LOCAL = 2
    SHARED = 3
    JOINED = 4


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds by stage."""

    total: float = 0.0
    cache: float = 0.0
    encode: float = 0.0
    search: float = 0.0
    merge: float = 0.0
    fetch: float = 0.0


@dataclass(frozen=True, slots=True)
class Reply:
    """A written answer, and how this caller came by it."""

    body: bytes
    source: Source
    times: Times

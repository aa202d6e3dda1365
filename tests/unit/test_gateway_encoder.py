"""services/gateway/encoder.py: which encoder is asked, where encoders of one model read texts in different ways."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from services.gateway.encoder import UNKNOWN, Encoders
from services.gateway.questions import Picture, Text
from services.gateway.vectors import Vector
from services.store import Model
from sightline.errors import Unavailable

MODEL = Model("tiny", "d1", 2, "")


@dataclass
class Replica:
    """An encoder that answers with its number."""

    number: int
    reading: str
    model: Model | None = MODEL

    async def encode(self, asked: object, deadline: float) -> Vector:
        return np.full(2, self.number, dtype=np.float32)


@dataclass
class Pool:
    """Asks the first replica that fits."""

    replicas: list[Replica] = field(default_factory=list)

    def up(self) -> list[Replica]:
        return self.replicas

    def staying(self) -> list[Replica]:
        return self.replicas

    async def call(
        self,
        use: Callable[[Replica, float], Awaitable[Vector]],
        *,
        deadline: float,
        where: Callable[[Replica], bool],
    ) -> Vector:
        return await use(next(one for one in self.replicas if where(one)), deadline)


def encoders(*readings: str) -> tuple[Encoders, Pool]:
    pool: Any = Pool([Replica(number, reading) for number, reading in enumerate(readings)])
    return Encoders(pool), pool


async def number(of: Encoders, term: Text | Picture, reading: str | None) -> float:
    return float((await of.encode(term, digest="d1", field="query.text", deadline=1e9, reading=reading))[0])


async def test_a_text_goes_to_an_encoder_that_reads_it_as_is_wanted() -> None:
    """While encoders change how they read texts, each answer is made by one that reads as its key in the cache says."""
    both, _ = encoders("", "german")
    assert await number(both, Text("hund"), "german") == 1
    assert await number(both, Text("hund"), "") == 0
    assert await number(both, Text("hund"), None) == 0


async def test_a_picture_goes_to_any_encoder_of_its_model() -> None:
    """How texts are read is all one to a picture."""
    both, _ = encoders("german")
    assert await number(both, Picture(b"png"), "") == 0


async def test_where_no_encoder_reads_so_any_more_the_caller_is_to_ask_again() -> None:
    """A text that no encoder reads as is wanted is refused as unavailable, so that no answer is kept under its key."""
    one, _ = encoders("german")
    with pytest.raises(Unavailable) as caught:
        await number(one, Text("hund"), "")
    assert caught.value.reason == "READING_CHANGED"


def test_how_texts_are_read_is_remembered_while_no_encoder_is_up() -> None:
    """Cached answers are found while all encoders are down: their keys say how texts were last read, if known."""
    one, pool = encoders("german")
    assert (one.reading("d1"), one.reading("d2")) == ("german", UNKNOWN)
    pool.replicas.clear()
    assert one.reading("d1") == "german"
    pool.replicas.append(Replica(0, "french"))
    assert one.reading("d1") == "french"

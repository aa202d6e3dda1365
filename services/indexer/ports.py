"""What a build and a publish need of the world, each with one to three verbs; tests fill them with fakes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.pictures import Pixels, Preparation
from sightline.errors import SightlineError

Vector = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class EncoderModel:
    """What the encoders serve: a model, how pictures are prepared for it, and what it is for.

    Attributes:
        dimension: length of its vectors.
        scope: a word such as `emoji` where it is not for pictures in general, else empty.
        scope_note: what to tell those who use it for something else.
    """

    name: str
    digest: str
    dimension: int
    preparation: Preparation
    scope: str = ""
    scope_note: str = ""


class Encoder(Protocol):
    """Turns prepared pictures into unit vectors."""

    async def describe(self) -> EncoderModel:
        """The model, and how it wants its pictures."""

    async def encode(self, pixels: Sequence[Pixels]) -> list[Vector | SightlineError]:
        """A unit vector, float32 [dimension], or an error, for each picture, uint8 [height, width, 3]."""


class Progress(Protocol):
    """Watches long work."""

    def stage(self, name: str, total: int | None) -> None:
        """A stage begins; `total` images are expected where that is known."""

    def advance(self, images: int) -> None:
        """So many more are done, in whichever way."""


@dataclass(frozen=True, slots=True)
class SearcherStatus:
    """What one searcher says of a collection.

    Attributes:
        address: of the searcher.
        group, groups: it serves group `group` of `groups`.
        loaded: the generations that it can be asked for.
        refused: the generations that it refused, with the reason.
        error: why it did not answer; nothing else is known then.
    """

    address: str
    group: int = 0
    groups: int = 0
    loaded: frozenset[int] = frozenset()
    refused: Mapping[int, str] = field(default_factory=dict)
    error: str = ""


class Searchers(Protocol):
    """All searchers of an installation."""

    async def statuses(self, collection: str) -> list[SearcherStatus]:
        """What each searcher says, one for each address that the configured names have at this moment."""

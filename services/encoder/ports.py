"""What the engine needs of a model: three verbs, so that the stages of different batches overlap.

prepare   texts to token ids, files to pixels   many threads, no accelerator
run       a batch through the model             one thread for each device
finish    its vectors, on the host              waits for the device while the next batch runs
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from services.pictures import Pixels, Preparation

Ids = NDArray[np.int64]
Vectors = NDArray[np.float32]
Raw: TypeAlias = Any
"""What `run` returns and `finish` takes; the model's own."""


@dataclass(frozen=True, slots=True)
class Card:
    """Which model it is, what it takes, and what it is for.

    Attributes:
        name: for people.
        digest: hex; equal where weights, configuration, tokens and preprocessing are.
        dimension: length of its vectors.
        preparation: how it wants its pictures.
        scope: a word such as `emoji` where it is not for pictures in general, else empty.
        scope_note: what to tell those who use it for something else.
        reading: hex; equal where the same is done to texts before the model reads them, empty where nothing is.
    """

    name: str
    digest: str
    dimension: int
    preparation: Preparation
    scope: str = ""
    scope_note: str = ""
    reading: str = ""


class Model(Protocol):
    """Turns texts and prepared pictures into unit vectors.

    `prepare_texts`, `run_*` and `finish` are called beside each other, but each on one thread at a time.
    """

    @property
    def card(self) -> Card:
        """Which model it is."""

    @property
    def lanes(self) -> int:
        """How many batches of a kind it pays to have away at a time: more than one where `run` returns early."""

    def prepare_texts(self, texts: Sequence[str]) -> list[Ids]:
        """Token ids, int64 [length] each; how many decides how long the text takes."""

    def run_texts(self, batch: Sequence[Ids]) -> Raw:
        """Starts a batch of prepared texts."""

    def run_images(self, batch: Sequence[Pixels]) -> Raw:
        """Starts a batch of pictures, uint8 [height, width, 3] each, prepared as the card says."""

    def finish(self, raw: Raw) -> Vectors:
        """Unit vectors, float32 [n, dimension], in the order of the batch."""

"""From a question to the one vector that is searched for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.gateway.questions import Direction, Ensemble, Picture, Question, Stored, Text, WeightedTerm
from services.runtime.wire import vector_from_bytes
from services.store import Manifest
from sightline.errors import InvalidArgument

Vector = NDArray[np.float32]

ZERO = 1e-6
"""A sum shorter than this part of its weights has no direction: it is float noise."""


class Encoder(Protocol):
    """Turns texts and pictures into vectors."""

    def reading(self, digest: str) -> str:
        """Returns what is done to texts before the model of that digest reads them; empty where nothing is."""

    async def encode(
        self, term: Text | Picture, *, digest: str, field: str, deadline: float, reading: str | None = None
    ) -> Vector:
        """Returns the unit vector, float32 [d], that the model of that digest makes, of a text read in that way."""


class Stores(Protocol):
    """Knows the vectors of indexed images."""

    async def vector(self, manifest: Manifest, identifier: str, *, field: str, deadline: float) -> Vector:
        """Returns the unit vector, float32 [d], of an image; NotFound where there is none of that id."""


class Vectors:
    """Makes the vectors of questions."""

    def __init__(self, encoder: Encoder, stores: Stores) -> None:
        self._encoder, self._stores = encoder, stores

    def reading(self, manifest: Manifest) -> str:
        """Returns how texts are read for a collection, which decides their vectors beside the model."""
        return self._encoder.reading(manifest.model.digest)

    async def of(
        self, question: Question, manifest: Manifest, deadline: float, *, reading: str | None = None
    ) -> Vector:
        """Returns the unit vector of Σ wᵢ · unit(vᵢ), float32 [d].

        Args:
            question: whose.
            manifest: of the collection.
            deadline: in `loop.time()` seconds.
            reading: how texts must be read; None where that is all one.

        Raises:
            InvalidArgument: a vector has the wrong length, or the sum is zero.
            NotFound: an image asked for by id is not in the collection.
            SightlineError: whatever the encoder or the searchers answer.
        """
        first, *others = question.terms
        if not others and first.weight > 0:
            return await self._term(first, manifest, deadline, reading)
        vectors = await asyncio.gather(*(self._term(one, manifest, deadline, reading) for one in question.terms))
        return combined([one.weight for one in question.terms], vectors, "query.weighted")

    async def _term(self, one: WeightedTerm, manifest: Manifest, deadline: float, reading: str | None) -> Vector:
        match one.term:
            case Direction(values):
                vector = vector_from_bytes(values, manifest.model.dimension, field=one.field)
                return unit(vector.astype(np.float64), one.field)
            case Stored(identifier):
                return await self._stores.vector(manifest, identifier, field=one.field, deadline=deadline)
            case Ensemble(parts):
                texts = (replace(one, weight=weight, term=text) for weight, text in parts)
                vectors = await asyncio.gather(*(self._term(text, manifest, deadline, reading) for text in texts))
                return combined([weight for weight, _ in parts], vectors, one.field)
            case term:
                return await self._encoder.encode(
                    term, digest=manifest.model.digest, field=one.field, deadline=deadline, reading=reading
                )


def combined(weights: Sequence[float], vectors: Sequence[Vector], field: str) -> Vector:
    """Returns the unit vector, float32 [d], of the weighted sum of vectors. Raises InvalidArgument if it is zero."""
    scales = np.array(weights, dtype=np.float64)
    return unit(scales @ np.stack(vectors), field, scale=float(np.abs(scales).sum()))


def unit(vector: NDArray[np.float64], field: str, *, scale: float | None = None) -> Vector:
    """Returns the unit vector, float32 [d], of float64 [d].

    Args:
        vector: of any length but zero.
        field: what an error names.
        scale: what the length is small against; without it only zero itself is too short.

    Raises:
        InvalidArgument: there is no direction.
    """
    largest = float(np.abs(vector).max())
    if largest <= ZERO * (scale or 0.0):
        raise InvalidArgument("the vector is zero and has no direction", reason="ZERO_VECTOR", field=field)
    # By the largest value first: the squares of very large or very small values do not fit a float.
    scaled = vector / largest
    return (scaled / np.linalg.norm(scaled)).astype(np.float32)

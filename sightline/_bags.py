"""The vectors of the fake: texts are near where they share words."""

from __future__ import annotations

import re
import zlib

import numpy as np
from numpy.typing import NDArray

from sightline.errors import InvalidArgument

DIMENSION = 512
"""Length of the fake's vectors."""


def bag_of_words(words: str) -> NDArray[np.float32]:
    """Counts the words, each in a place of its own, float32 [512]; the text itself where it has none."""
    vector = np.zeros(DIMENSION, dtype=np.float32)
    for word in re.findall(r"\w+", words.casefold()) or [words]:
        vector[zlib.crc32(word.encode()) % DIMENSION] += 1
    return vector


def unit(vector: NDArray[np.float32], field: str) -> NDArray[np.float32]:
    """Returns the unit vector of float32 [d]; an error that names `field` where it is zero."""
    length = float(np.linalg.norm(vector))
    if length < 1e-6:
        raise InvalidArgument("the vectors add up to zero", reason="ZERO_VECTOR", field=field)
    return (vector / length).astype(np.float32)


def checked_words(words: str, field: str) -> str:
    """Returns the words, where the real service would take them."""
    if not words.strip():
        raise InvalidArgument("must not be empty", reason="TEXT_EMPTY", field=field)
    if (length := len(words.encode())) > 4096:
        raise InvalidArgument(f"must be at most 4,096 bytes, got {length:,}", reason="TEXT_TOO_LONG", field=field)
    return words


def checked_vector(values: NDArray[np.float32], field: str) -> NDArray[np.float32]:
    """Returns the vector, float32 [512], where the real service would take it."""
    if len(values) != DIMENSION:
        raise InvalidArgument(f"must have {DIMENSION} values, got {len(values)}", reason="WRONG_DIMENSION", field=field)
    if not np.isfinite(values).all():
        raise InvalidArgument("must be finite", reason="NOT_FINITE", field=field)
    return values

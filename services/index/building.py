"""Writes the files of a shard."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Row:
    """One image at rest.

    Attributes:
        id: as `services.store.check_id` allows.
        vector: float32 [dimension], of unit length.
        document: serialised sightline.v1.Image.
        thumbnail: a WebP file; may be empty.
    """

    id: str
    vector: NDArray[np.float32] = field(repr=False)
    document: bytes = field(repr=False)
    thumbnail: bytes = field(repr=False, default=b"")


@dataclass(frozen=True, slots=True)
class Trained:
    """What all shards of a collection share: rotation, coarse centroids, codebooks; empty for Flat."""

    factory: str
    dimension: int
    blob: bytes = field(repr=False, default=b"")


def check_factory(factory: str, dimension: int) -> None:
    """Raises InvalidArgument, naming the factory string, where FAISS cannot make such an index. Cheap: trains nothing."""
    raise NotImplementedError


def train(factory: str, dimension: int, sample: NDArray[np.float32]) -> Trained:
    """Trains an index once for all the shards of a collection.

    Args:
        factory: a FAISS factory string, such as `Flat` (exact) or `IVF1024,SQfp16`.
        dimension: of the vectors.
        sample: float32 [n, dimension], unit vectors of the collection; may be empty where the index needs no training.

    Raises:
        InvalidArgument: FAISS does not know the factory string, or the sample is too small for it; names the string.
    """
    raise NotImplementedError


def write_shard(folder: Path, rows: Iterable[Row], trained: Trained) -> int:
    """Writes a shard's files into `folder`; the same rows give the same bytes. Returns the number of rows, may be 0.

    Memory stays bounded: rows are taken one after the other.

    Args:
        folder: a local folder, empty.
        rows: ascending by the UTF-8 bytes of their ids, no id twice.
        trained: of `train`.

    Raises:
        InvalidArgument: rows are out of order, an id is wrong or there twice, or a vector has another dimension or is
            not of unit length (to 1e-3).
    """
    raise NotImplementedError

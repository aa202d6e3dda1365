"""The files of a shard, mapped into memory.

A shard is a list of immutable segments and a set of rows that were deleted since. Today it is one segment and nothing
deleted, so that a row's number in the shard is its number in the segment.
"""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.index import engine
from services.index.blobs import Blobs, map_file
from services.store import Shard
from sightline.errors import FailedPrecondition

NAMES = ("vectors.f32", *(f"{name}.{end}" for name in ("ids", "documents", "thumbnails") for end in ("bin", "idx")))


def required_files(factory: str) -> tuple[str, ...]:
    """Returns the names of the files that a shard of such an index must have."""
    return NAMES if factory == engine.FLAT else (*NAMES, "index.faiss")


class Segment:
    """Rows ordered by id.

    Args:
        folder: where its files are.
        shard: its entry in the manifest.
        dimension: of its vectors.
        factory: of its index.

    Attributes:
        exact: whether `candidates` compares all vectors.
        ids, documents, thumbnails: by row.
        vectors: float32 [n, dimension], unit.

    Raises:
        FailedPrecondition: a file is missing, or of another size than it must be (CORRUPT_GENERATION).
    """

    def __init__(self, folder: Path, shard: Shard, dimension: int, factory: str) -> None:
        images = shard.images
        self.vectors = _map_vectors(folder / "vectors.f32", images, dimension)
        self.ids, self.documents, self.thumbnails = (
            Blobs(folder, name, images) for name in ("ids", "documents", "thumbnails")
        )
        self.exact = factory == engine.FLAT
        self._coarse = None if self.exact else engine.Coarse(folder / "index.faiss", images, dimension)

    def __len__(self) -> int:
        return len(self.vectors)

    def find(self, identifier: bytes) -> int | None:
        """Returns the row of an id; None where there is none."""
        row = bisect_left(range(len(self)), identifier, key=self.ids.__getitem__)
        return row if row < len(self) and self.ids[row] == identifier else None

    def candidates(self, queries: NDArray[np.float32], width: int) -> list[tuple[NDArray[np.int64], float]]:
        """Proposes rows for each query, float32 [m, dimension].

        Returns for each query up to `width` rows, int64, and the highest score, to float32 noise, that a row which is
        not among them can have: -inf where none can, or where the index does not know.
        """
        if not len(self):
            return [(np.empty(0, np.int64), -np.inf)] * len(queries)
        if self._coarse:
            return [(self._coarse.propose(query, width), -np.inf) for query in queries]
        width = min(width, len(self))
        scores, rows = engine.nearest(self.vectors, queries, width)
        return [
            (found, float(worst) if width < len(self) else -np.inf)
            for found, worst in zip(rows, scores[:, -1], strict=True)
        ]

    def at_least(self, query: NDArray[np.float32], score: float) -> NDArray[np.int64]:
        """Returns all rows, int64, that score at least `score`, to float32 noise."""
        return np.flatnonzero(self.vectors @ query >= score)


def _map_vectors(path: Path, rows: int, dimension: int) -> NDArray[np.float32]:
    data = map_file(path)
    if len(data) != 4 * rows * dimension:
        message = f"{path.name} has {len(data)} bytes, not those of {rows} vectors of {dimension} float32 values"
        raise FailedPrecondition(message, reason="CORRUPT_GENERATION")
    return np.frombuffer(data, dtype="<f4").reshape(rows, dimension)

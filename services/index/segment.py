"""The files of a shard, mapped into memory.

A shard is a list of immutable segments and a set of rows that were deleted since. Today it is one segment and nothing
deleted, so that a row's number in the shard is its number in the segment.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from services.index import engine
from services.index.attributes import Attributes
from services.index.blobs import Blobs, map_file
from services.index.coarse import Coarse
from services.index.matching import Matching
from services.store import ATTRIBUTES_FILE, Shard
from sightline.errors import FailedPrecondition
from sightline.filters import Filter

FEW = 1 << 21
"""Matching rows times dimension up to which comparing all of them costs no more than asking an index of codes; see
docs/decisions/0012-filters.md."""

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
        types: of its attributes by name, as the manifest has them.

    Attributes:
        ids, documents, thumbnails: by row.
        vectors: float32 [n, dimension], unit.

    Raises:
        FailedPrecondition: a file is missing, or of another size than it must be (CORRUPT_GENERATION).
    """

    def __init__(
        self, folder: Path, shard: Shard, dimension: int, factory: str, types: Mapping[str, str] | None = None
    ) -> None:
        images = shard.images
        self.vectors = _map_vectors(folder / "vectors.f32", images, dimension)
        self.ids, self.documents, self.thumbnails = (
            Blobs(folder, name, images) for name in ("ids", "documents", "thumbnails")
        )
        self._coarse = None if factory == engine.FLAT else Coarse(folder / "index.faiss", images, dimension)
        self._attributes: Attributes | None = None
        if any(file.name == ATTRIBUTES_FILE for file in shard.files):
            self._attributes = Attributes(folder / ATTRIBUTES_FILE, types or {}, images)

    def __len__(self) -> int:
        return len(self.vectors)

    def find(self, identifier: bytes) -> int | None:
        """Returns the row of an id; None where there is none."""
        row = bisect_left(range(len(self)), identifier, key=self.ids.__getitem__)
        return row if row < len(self) and self.ids[row] == identifier else None

    def matching(self, condition: Filter) -> Matching:
        """Returns the rows that meet a filter; see `Attributes.mask`."""
        if self._attributes is None:
            message = "this generation was built without a table of its attributes, so no filter can be applied to it"
            raise FailedPrecondition(message, reason="NOT_FILTERABLE", field="filter")
        mask = self._attributes.mask(condition)
        return Matching.of(mask, self._coarse.lists(mask) if self._coarse else None)

    def candidates(
        self, queries: NDArray[np.float32], width: int, matching: Matching | None = None
    ) -> list[tuple[NDArray[np.int64], float]]:
        """Proposes rows for each query, float32 [m, dimension]; of the matching rows where they are given.

        Returns for each query up to `width` rows, int64, and the highest score, to float32 noise, that a row which is
        not among them can have: -inf where none can, or where the index does not know. Of matching rows it returns
        `width`, or all.
        """
        if matching is not None:
            return self._candidates_among(queries, min(width, matching.count), matching)
        if not len(self):
            return [(np.empty(0, np.int64), -np.inf)] * len(queries)
        if self._coarse:
            return [(self._coarse.propose(query, width), -np.inf) for query in queries]
        width = min(width, len(self))
        return _with_floor(*engine.nearest(self.vectors, queries, width), whole=width == len(self))

    def at_least(self, query: NDArray[np.float32], score: float, matching: Matching | None = None) -> NDArray[np.int64]:
        """Returns all rows, int64, that score at least `score`, to float32 noise; of the matching ones if given."""
        if matching is None:
            return np.flatnonzero(self.vectors @ query >= score)
        rows = matching.rows
        return rows[engine.inner_products(self.vectors, query, rows) >= score]

    def _candidates_among(
        self, queries: NDArray[np.float32], width: int, matching: Matching
    ) -> list[tuple[NDArray[np.int64], float]]:
        if not width:
            return [(np.empty(0, np.int64), -np.inf)] * len(queries)
        few = matching.count * self.vectors.shape[1] <= FEW
        if self._coarse is None or few or not self._coarse.can_propose_among(matching.count):
            found = engine.nearest_among(self.vectors, queries, matching.rows, width)
            return _with_floor(*found, whole=width == matching.count)
        return [self._proposed(query, width, matching, self._coarse) for query in queries]

    def _proposed(
        self, query: NDArray[np.float32], width: int, matching: Matching, coarse: Coarse
    ) -> tuple[NDArray[np.int64], float]:
        # Twice as many as without a filter cost little, and codes tell what lies farther apart less well.
        rows = coarse.propose_among(query, 2 * width, matching)
        if len(rows) < width:
            # It looked where too few of them are: nobody is to get fewer hits than there are.
            scores, among = engine.nearest_among(self.vectors, query[None], matching.rows, width)
            return among[0], float(scores[0, -1])
        return rows, -np.inf


def _with_floor(
    scores: NDArray[np.float32], rows: NDArray[np.int64], *, whole: bool
) -> list[tuple[NDArray[np.int64], float]]:
    """Each query's rows with the score of the last, which no other row exceeds; -inf where the rows are all."""
    return [(found, -np.inf if whole else float(worst)) for found, worst in zip(rows, scores[:, -1], strict=True)]


def _map_vectors(path: Path, rows: int, dimension: int) -> NDArray[np.float32]:
    data = map_file(path)
    if len(data) != 4 * rows * dimension:
        message = f"{path.name} has {len(data)} bytes, not those of {rows} vectors of {dimension} float32 values"
        raise FailedPrecondition(message, reason="CORRUPT_GENERATION")
    return np.frombuffer(data, dtype="<f4").reshape(rows, dimension)

"""Which rows of a segment meet a filter; kept for the next query with the same filter."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

CACHE_BYTES = 64 << 20
"""What the filters of one loaded generation may take: at a million images some 400 of them."""

_KEPT = 16
"""Rows are kept as numbers beside the bits where they are no more than a 16th of all."""


@dataclass(frozen=True, slots=True)
class Matching:
    """The rows of a segment that meet a filter.

    Attributes:
        total: rows of the segment.
        count: those that match.
        bits: uint8 [ceil(total / 8)], the lowest bit first.
        lists: int32, how many of them each inverted list of the index holds; None where there are no lists.
    """

    total: int
    count: int
    bits: NDArray[np.uint8] = field(repr=False)
    lists: NDArray[np.int32] | None = field(repr=False)
    _rows: NDArray[np.int64] | None = field(repr=False)

    @classmethod
    def of(cls, mask: NDArray[np.bool_], lists: NDArray[np.int32] | None = None) -> Matching:
        """Returns what a mask, bool [total], says."""
        count = int(np.count_nonzero(mask))
        rows = np.flatnonzero(mask) if count <= len(mask) // _KEPT else None
        return cls(len(mask), count, np.packbits(mask, bitorder="little"), lists, rows)

    @property
    def rows(self) -> NDArray[np.int64]:
        """The matching rows, int64 [count], ascending."""
        if self._rows is not None:
            return self._rows
        return np.flatnonzero(np.unpackbits(self.bits, count=self.total, bitorder="little"))

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return sum(part.nbytes for part in (self.bits, self.lists, self._rows) if part is not None)


class Matchings:
    """Remembers matchings by filter and shard, those that were asked for last. For one thread.

    Args:
        capacity: bytes.
    """

    def __init__(self, capacity: int = CACHE_BYTES) -> None:
        self._capacity, self._size = capacity, 0
        self._kept: OrderedDict[tuple[bytes, int], Matching] = OrderedDict()

    def get(self, key: bytes, shard: int, make: Callable[[], Matching]) -> Matching:
        """Returns the matching of a filter in a shard; makes it where it is not remembered."""
        if (known := self._kept.get((key, shard))) is not None:
            self._kept.move_to_end((key, shard))
            return known
        made = make()
        self._kept[key, shard] = made
        self._size += made.nbytes
        while self._size > self._capacity:
            _, oldest = self._kept.popitem(last=False)
            self._size -= oldest.nbytes
        return made

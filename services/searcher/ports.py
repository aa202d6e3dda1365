"""What the searcher needs of the store and of the index."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.store import Manifest, Pointers
from sightline.filters import Filter


class Generations(Protocol):
    """The part of the store that is read here; see services.store.Store. Its calls block."""

    def collections(self) -> list[str]: ...

    def pointers(self, collection: str) -> Pointers: ...

    def manifest(self, collection: str, generation: int) -> Manifest: ...


class Hits(Protocol):
    """n hits, best first: scores float32 [n]; rows uint64 [n], shard << 32 | row; n ids, UTF-8; images that matched."""

    @property
    def scores(self) -> NDArray[np.float32]: ...

    @property
    def rows(self) -> NDArray[np.uint64]: ...

    @property
    def ids(self) -> list[bytes]: ...

    @property
    def matched(self) -> int: ...


class Generation(Protocol):
    """A generation in memory; see services.index.LoadedGeneration. Its calls block."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def shards(self) -> tuple[int, ...]: ...

    @property
    def images(self) -> int: ...

    def search(
        self, vectors: NDArray[np.float32], ks: Sequence[int], conditions: Sequence[Filter | None] | None = None
    ) -> Sequence[Hits]: ...

    def find(self, ids: Sequence[str]) -> list[int | None]: ...

    def has(self, row: int) -> bool: ...

    def documents(self, rows: Sequence[int]) -> list[bytes]: ...

    def thumbnails(self, rows: Sequence[int]) -> list[bytes]: ...

    def vectors(self, rows: Sequence[int]) -> list[NDArray[np.float32]]: ...

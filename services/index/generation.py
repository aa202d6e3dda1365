"""A generation in memory: the shards of it that this process serves."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from services.index.matching import Matching, Matchings
from services.index.scoring import best, may_be_missing, reach, width_for
from services.index.segment import Segment
from services.runtime.ranking import merge
from services.store import Manifest, check_id, shard_of
from sightline._filtering import filter_key
from sightline.errors import InvalidArgument
from sightline.filters import Filter

T = TypeVar("T")

_WARM_QUERIES = 16


@dataclass(frozen=True, slots=True)
class Hits:
    """The answer to one query: n hits, best first.

    Attributes:
        scores: float32 [n].
        rows: uint64 [n]: shard << 32 | row in the shard.
        ids: n of them, UTF-8.
        matched: how many images here meet the filter; all where there was none.
    """

    scores: NDArray[np.float32]
    rows: NDArray[np.uint64]
    ids: list[bytes]
    matched: int


class LoadedGeneration:
    """Searches some shards of a generation. Its files stay mapped as long as anybody holds it.

    Attributes:
        manifest: of the whole generation.
        shards: numbers of the shards that are here.
        images: how many images those have.
    """

    def __init__(self, manifest: Manifest, segments: Mapping[int, Segment]) -> None:
        self.manifest = manifest
        self._segments = dict(sorted(segments.items()))
        self.shards = tuple(self._segments)
        self.images = sum(len(segment) for segment in self._segments.values())
        self._matchings = Matchings()

    def search(
        self, vectors: NDArray[np.float32], ks: Sequence[int], conditions: Sequence[Filter | None] | None = None
    ) -> list[Hits]:
        """Returns the best hits of each query over all shards that are here.

        A query's answer does not depend on the others of its batch. With conditions, for one thread at a time: what
        meets them is remembered.

        Args:
            vectors: float32 [n, dimension], unit queries.
            ks: how many hits each query wants at the most.
            conditions: the filter of each query, checked by `services.store.check_filterable`; None for none.
        """
        exact = self.manifest.index == "Flat"
        conditions = conditions or [None] * len(ks)
        keys = [filter_key(condition) if condition else b"" for condition in conditions]
        alike: dict[tuple[bytes, int], list[int]] = {}
        for place, (key, k) in enumerate(zip(keys, ks, strict=True)):
            alike.setdefault((key, width_for(k, exact=exact)), []).append(place)
        answers: dict[int, Hits] = {}
        for (key, width), places in alike.items():
            matching = self._matching(key, conditions[places[0]])
            queries = np.ascontiguousarray(vectors[places], np.float32)
            found = self._search(queries, [ks[place] for place in places], width, matching)
            answers.update(zip(places, found, strict=True))
        return [answers[place] for place in range(len(ks))]

    def find(self, ids: Sequence[str]) -> list[int | None]:
        """Returns the packed row (shard << 32 | row) of each id; None for those that are not in the shards here."""
        return [self._find(identifier) for identifier in ids]

    def has(self, row: int) -> bool:
        """Returns whether a packed row is here."""
        segment = self._segments.get(row >> 32)
        return segment is not None and row & 0xFFFFFFFF < len(segment)

    def ids(self, rows: Sequence[int]) -> list[bytes]:
        """Returns the ids of packed rows. Raises InvalidArgument for a row that is not here; so do those below."""
        return self._read(rows, lambda segment, row: segment.ids[row])

    def documents(self, rows: Sequence[int]) -> list[bytes]:
        """Returns the documents of packed rows: serialised sightline.v1.Image."""
        return self._read(rows, lambda segment, row: segment.documents[row])

    def thumbnails(self, rows: Sequence[int]) -> list[bytes]:
        """Returns the thumbnails of packed rows: WebP files, empty where there is none."""
        return self._read(rows, lambda segment, row: segment.thumbnails[row])

    def vectors(self, rows: Sequence[int]) -> list[NDArray[np.float32]]:
        """Returns the stored vectors of packed rows: float32 [dimension] each."""
        return self._read(rows, lambda segment, row: segment.vectors[row])

    def warm(self) -> None:
        """Searches with some of its own vectors, so that the first query finds the files in memory."""
        for segment in self._segments.values():
            if not len(segment):
                continue
            places = np.linspace(0, len(segment) - 1, _WARM_QUERIES).astype(np.int64)
            for queries in (segment.vectors[places[:1]], segment.vectors[places]):
                self.search(queries, [10] * len(queries))

    def _matching(self, key: bytes, condition: Filter | None) -> Sequence[Matching | None]:
        """What meets the condition in each segment; None for each where there is no condition."""
        if condition is None:
            return [None] * len(self._segments)
        return [
            self._matchings.get(key, shard, partial(segment.matching, condition))
            for shard, segment in self._segments.items()
        ]

    def _search(
        self, queries: NDArray[np.float32], ks: Sequence[int], width: int, matching: Sequence[Matching | None]
    ) -> list[Hits]:
        proposed = [
            segment.candidates(queries, width, among)
            for segment, among in zip(self._segments.values(), matching, strict=True)
        ]
        return [
            self._answer(query, k, [of_segment[place] for of_segment in proposed], matching)
            for place, (query, k) in enumerate(zip(queries, ks, strict=True))
        ]

    def _answer(
        self,
        query: NDArray[np.float32],
        k: int,
        proposed: Sequence[tuple[NDArray[np.int64], float]],
        matching: Sequence[Matching | None],
    ) -> Hits:
        segments = list(self._segments.values())
        lists = [best(segment, query, rows, k) for segment, (rows, _) in zip(segments, proposed, strict=True)]
        for place, (segment, (_, floor)) in enumerate(zip(segments, proposed, strict=True)):
            scores, _ = lists[place]
            if may_be_missing(floor, scores, k):
                lists[place] = best(segment, query, segment.at_least(query, reach(scores, k), matching[place]), k)
        matched = sum(len(segment) if of is None else of.count for segment, of in zip(segments, matching, strict=True))
        return self._merge(lists, k, matched)

    def _merge(self, lists: Sequence[tuple[NDArray[np.float32], NDArray[np.int64]]], k: int, matched: int) -> Hits:
        scores = [of_shard for of_shard, _ in lists]
        ids = [
            [segment.ids[row] for row in rows.tolist()]
            for segment, (_, rows) in zip(self._segments.values(), lists, strict=True)
        ]
        order = merge(list(zip(scores, ids, strict=True)), k)
        return Hits(
            np.array([scores[which][place] for which, place in order], np.float32),
            np.array([self.shards[which] << 32 | int(lists[which][1][place]) for which, place in order], np.uint64),
            [ids[which][place] for which, place in order],
            matched,
        )

    def _find(self, identifier: str) -> int | None:
        encoded = check_id(identifier, field="ids")
        shard = shard_of(identifier, len(self.manifest.shards))
        row = self._segments[shard].find(encoded) if shard in self._segments else None
        return None if row is None else shard << 32 | row

    def _read(self, rows: Sequence[int], read: Callable[[Segment, int], T]) -> list[T]:
        return [read(*self._locate(int(packed))) for packed in rows]

    def _locate(self, packed: int) -> tuple[Segment, int]:
        if not self.has(packed):
            message = f"there is no row {packed & 0xFFFFFFFF} of shard {packed >> 32} here"
            raise InvalidArgument(message, reason="NO_SUCH_ROW", field="rows")
        return self._segments[packed >> 32], packed & 0xFFFFFFFF

"""A client for the tests of those who use Sightline: no server, no network, the same answers every time.

::

    fake = FakeClient([Image("1", caption="red apple"), Image("2", caption="green pear")])
    result = await fake.search("an apple")      # finds "1": it shares the most words
    fake.fail(Unavailable("gone"), times=1)     # the next call fails
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sightline._bags import DIMENSION, bag_of_words, checked_vector, checked_words, unit
from sightline._filtering import check_filter, check_types, meets
from sightline._split import MAX_IDS, MAX_ITEMS, MAX_THUMBNAILS
from sightline.errors import FailedPrecondition, InvalidArgument, NotFound, SightlineError, Unavailable
from sightline.queries import ImageId, Part, Picture, Query, SearchRequest, Text, Vector, Weighted, as_query
from sightline.results import (
    AttributeField,
    AttributeType,
    CacheState,
    Collection,
    Coverage,
    Degradation,
    Hit,
    Image,
    Model,
    SearchResult,
    StageTimes,
    StoredImage,
)
from sightline.stream import SearchStream
from sightline.surface import WINDOW, SearchClient

_T = TypeVar("_T")


_TYPES = {
    str: AttributeType.STRING,
    int: AttributeType.INT,
    float: AttributeType.DOUBLE,
    bool: AttributeType.BOOL,
}


@dataclass
class _Failure:
    error: SightlineError
    times: int | None
    query: Query | None


class FakeClient(SearchClient):
    """Answers from a handful of images, by the words that query and caption share.

    A picture as a query finds the image whose thumbnail it is. Filters choose among images as the service does.

    Args:
        images: what can be found.
        thumbnails: files by image id.
        collection: the only collection's name.
        generation: the only generation.
        shards: over how many shards the images are said to be spread.
    """

    def __init__(
        self,
        images: Iterable[Image] = (),
        *,
        thumbnails: Mapping[str, bytes] | None = None,
        collection: str = "fake",
        generation: int = 1,
        shards: int = 4,
    ) -> None:
        self.images = {one.id: one for one in images}
        self.thumbnails = dict(thumbnails or {})
        self.model = Model("fake", "0" * 64, DIMENSION)
        self.asked: list[SearchRequest] = []
        """Every question so far, whatever became of it."""
        self._collection = collection
        self._generation = generation
        self._shards = shards
        self._lost_shards = 0
        self._failures: list[_Failure] = []

    def fail(self, error: SightlineError, *, times: int | None = None, query: str | Query | None = None) -> None:
        """Makes calls fail with `error`: the next `times`, or all; where `query` is given, only questions for it."""
        self._failures.append(_Failure(error, times, None if query is None else as_query(query)))

    def lose_shards(self, count: int) -> None:
        """Makes answers partial, as if `count` of the shards were gone; 0 makes them whole again."""
        self._lost_shards = count

    def recover(self) -> None:
        """Undoes `fail` and `lose_shards`."""
        self._failures.clear()
        self._lost_shards = 0

    async def close(self) -> None:
        """Does nothing: the fake holds nothing."""

    async def _search(self, request: SearchRequest, timeout: float | None, request_id: str | None) -> SearchResult:
        self._fail_if_told()
        return self._answer(request, request_id)

    async def _search_batch(
        self, requests: list[SearchRequest], timeout: float, request_id: str | None
    ) -> list[SearchResult | SightlineError]:
        self._fail_if_told()
        _check_count("requests", len(requests), MAX_ITEMS)
        return [_outcome(partial(self._answer, request, request_id)) for request in requests]

    def stream(self, *, window: int = WINDOW, timeout: float | None = None) -> SearchStream:
        """Returns a stream that answers as `search` does."""
        return _FakeStream(self)

    async def get(
        self,
        id: str,
        *,
        collection: str = "",
        thumbnail: bool = False,
        fields: Sequence[str] | None = None,
        generation: int = 0,
        timeout: float | None = None,
    ) -> StoredImage:
        """Returns one image; NotFound where there is none of that id."""
        self._fail_if_told()
        self._check_place(collection, generation)
        return self._stored(id, "id", thumbnail, fields)

    async def _get_many(
        self,
        ids: list[str],
        *,
        collection: str,
        thumbnails: bool,
        fields: Sequence[str] | None,
        generation: int,
        timeout: float,
    ) -> list[StoredImage | SightlineError]:
        self._fail_if_told()
        self._check_place(collection, generation)
        _check_count("ids", len(ids), MAX_THUMBNAILS if thumbnails else MAX_IDS)
        return [_outcome(partial(self._stored, one, "ids", thumbnails, fields)) for one in ids]

    async def collections(self, *, timeout: float | None = None) -> list[Collection]:
        """Returns the only collection."""
        return [await self.collection()]

    async def collection(self, name: str = "", *, timeout: float | None = None) -> Collection:
        """Returns the only collection; NotFound for another name."""
        self._fail_if_told()
        self._check_place(name, 0)
        return Collection(
            name=self._collection,
            model=self.model,
            images=len(self.images),
            shards=self._shards,
            generation=self._generation,
            previous_generation=0,
            index="Flat",
            attributes=_schema(self.images.values()),
        )

    async def _embed(self, parts: list[Text | Picture], timeout: float) -> NDArray[np.float32]:
        self._fail_if_told()
        _check_count("inputs", len(parts), MAX_ITEMS)
        return np.stack([unit(self._vector(part, f"inputs[{n}]"), f"inputs[{n}]") for n, part in enumerate(parts)])

    async def serving(self, *, timeout: float | None = None) -> bool:
        """Returns True: the fake is always ready."""
        return True

    def _answer(self, request: SearchRequest, request_id: str | None) -> SearchResult:
        self.asked.append(request)
        query = as_query(request.query)
        self._fail_if_told(query)
        self._check_place(request.collection, request.generation)
        if not 1 <= request.top_k <= 1000:
            raise InvalidArgument(f"must be 1 to 1000, got {request.top_k}", reason="TOP_K_OUT_OF_RANGE", field="top_k")
        among = self._matching(request)
        if self._lost_shards and request.refuse_partial:
            raise Unavailable(f"{self._lost_shards} shards did not answer", reason="SHARDS_MISSING")
        return SearchResult(
            hits=tuple(self._hits(unit(self._sum(query), "query"), request, among)),
            coverage=Coverage(self._shards, self._shards - self._lost_shards, len(self.images), len(among)),
            degraded=(Degradation("SHARDS_MISSING", f"{self._lost_shards} shards did not answer"),)
            if self._lost_shards
            else (),
            model=self.model,
            generation=self._generation,
            cache=CacheState.MISS,
            request_id=request_id or f"fake-{len(self.asked)}",
            times=StageTimes(),
        )

    def _matching(self, request: SearchRequest) -> list[Image]:
        images = list(self.images.values())
        if request.filter is None:
            return images
        check_filter(request.filter)
        check_types(request.filter, {one.name: one.type for one in _schema(images)})
        return [one for one in images if meets(one.attributes, request.filter)]

    def _hits(self, query: NDArray[np.float32], request: SearchRequest, among: Sequence[Image]) -> list[Hit]:
        scored = [(round(float(query @ self._vector_of(one)), 6), one) for one in among]
        scored.sort(key=lambda pair: (-pair[0], pair[1].id))
        floor = -math.inf if request.min_score is None else request.min_score
        best = [(score, one) for score, one in scored if score >= floor][: request.top_k]
        return [Hit(one.id, score, _only(one, request.fields)) for score, one in best]

    def _sum(self, query: Query) -> NDArray[np.float32]:
        if not isinstance(query, Weighted):
            return self._vector(query, "query")
        _check_count("query.weighted.terms", len(query.terms), 16, "TERMS_OUT_OF_RANGE")
        rows = [
            weight * unit(self._vector(part, f"query.weighted.terms[{n}]"), f"query.weighted.terms[{n}]")
            for n, (weight, part) in enumerate(query.terms)
        ]
        total: NDArray[np.float32] = np.sum(rows, axis=0, dtype=np.float32)
        return total

    def _vector(self, part: Part, field: str) -> NDArray[np.float32]:
        match part:
            case Text(words):
                return bag_of_words(checked_words(words, f"{field}.text"))
            case Picture(data):
                known = [one for one, thumbnail in self.thumbnails.items() if thumbnail == data and one in self.images]
                return self._vector_of(self.images[known[0]]) if known else bag_of_words(str(zlib.crc32(data)))
            case ImageId(wanted):
                return self._vector_of(self._image(wanted, f"{field}.image_id"))
            case Vector():
                return checked_vector(part.values, f"{field}.vector")

    def _vector_of(self, one: Image) -> NDArray[np.float32]:
        return unit(bag_of_words(one.caption or one.id), "caption")

    def _image(self, wanted: str, field: str) -> Image:
        if wanted not in self.images:
            raise NotFound(f"{self._collection} has no image {wanted!r}", reason="NO_IMAGE", field=field)
        return self.images[wanted]

    def _stored(self, wanted: str, field: str, thumbnail: bool, fields: Sequence[str] | None) -> StoredImage:
        one = self._image(wanted, field)
        return StoredImage(_only(one, fields), self.thumbnails.get(wanted, b"") if thumbnail else b"", self._generation)

    def _check_place(self, collection: str, generation: int) -> None:
        if collection not in ("", self._collection):
            raise NotFound(f"no collection {collection!r}", reason="NO_COLLECTION", field="collection")
        if generation not in (0, self._generation):
            raise FailedPrecondition(
                f"generation {generation} is not loaded", reason="GENERATION_NOT_LOADED", field="generation"
            )

    def _fail_if_told(self, query: Query | None = None) -> None:
        for failure in self._failures:
            if failure.times != 0 and failure.query == query:
                failure.times = None if failure.times is None else failure.times - 1
                raise failure.error


class _FakeStream(SearchStream):
    def __init__(self, client: FakeClient) -> None:
        self._client = client

    async def answer(self, request: SearchRequest, *, timeout: float | None = None) -> SearchResult:
        return await self._client._search(request, timeout, None)

    async def close(self) -> None:
        pass


def _outcome(work: Callable[[], _T]) -> _T | SightlineError:
    try:
        return work()
    except SightlineError as error:
        return error


def _schema(images: Iterable[Image]) -> tuple[AttributeField, ...]:
    kinds: dict[str, list[AttributeType]] = {}
    for one in images:
        for name, value in one.attributes.items():
            kinds.setdefault(name, []).append(_TYPES.get(type(value), AttributeType.STRINGS))
    return tuple(AttributeField(name, _settled(kinds[name]), len(kinds[name])) for name in sorted(kinds))


def _settled(kinds: Sequence[AttributeType]) -> AttributeType:
    # As the indexer has it: whole numbers make room for others.
    return AttributeType.DOUBLE if set(kinds) == {AttributeType.INT, AttributeType.DOUBLE} else kinds[0]


def _only(one: Image, fields: Sequence[str] | None) -> Image:
    """Returns the image with the fields asked for, and its id."""
    if not fields:
        return one
    wanted = {"attributes" if field.startswith("attributes") else field for field in fields}
    kept = {name: getattr(one, name) for name in wanted if name in ("uri", "caption", "width", "height")}
    names = [field.partition(".")[2] for field in fields if field.startswith("attributes")]
    attributes = {name: value for name, value in one.attributes.items() if "" in names or name in names}
    return Image(one.id, **kept, attributes=attributes)


def _check_count(field: str, count: int, limit: int, reason: str = "COUNT_OUT_OF_RANGE") -> None:
    if not 1 <= count <= limit:
        raise InvalidArgument(f"must be 1 to {limit:,} of them, got {count:,}", reason=reason, field=field)

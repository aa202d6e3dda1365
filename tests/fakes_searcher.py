"""A searcher without files, threads or FAISS: brute force over a corpus in memory, behind the same contract."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from services.runtime.wire import error_to_message, vector_from_bytes, vector_to_bytes
from services.store import shard_of
from sightline._filter_messages import from_filter
from sightline._filtering import check_filter, check_types
from sightline.errors import (
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    SightlineError,
)
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc
from tests.corpus import Corpus


@dataclass
class Part:
    """A group's share of a generation: its ids by packed row, and the corpus they are of."""

    corpus: Corpus
    shards: int
    rows: dict[int, str] = field(default_factory=dict)
    served: int = 0

    @classmethod
    def of(cls, corpus: Corpus, shards: int, group: int, groups: int) -> Part:
        """Returns what the group holds."""
        mine = range(group, shards, groups)
        part = cls(corpus, shards, served=len(mine))
        for shard in mine:
            ids = sorted((one for one in corpus.ids if shard_of(one, shards) == shard), key=str.encode)
            part.rows |= {shard << 32 | row: one for row, one in enumerate(ids)}
        return part


class FakeSearcher(searcher_pb2_grpc.SearcherServiceServicer):
    """Serves one group of the corpora that it is given.

    Args:
        group, groups: which shards of each are its own.
    """

    def __init__(self, group: int = 0, groups: int = 1) -> None:
        self._group, self._groups = group, groups
        self._parts: dict[tuple[str, int], Part] = {}
        self.refused: dict[tuple[str, int], str] = {}

    def publish(self, collection: str, corpus: Corpus, *, shards: int = 1) -> int:
        """Loads the next generation of a collection; returns its number."""
        generation = 1 + max((number for name, number in self._parts if name == collection), default=0)
        self._parts[collection, generation] = Part.of(corpus, shards, self._group, self._groups)
        return generation

    async def Search(self, request: searcher_pb2.SearchRequest, context: Any) -> searcher_pb2.SearchResponse:
        """Answers each query by brute force."""
        return searcher_pb2.SearchResponse(results=[self._search(item) for item in request.items])

    async def Fetch(self, request: searcher_pb2.FetchRequest, context: Any) -> searcher_pb2.FetchResponse:
        """Returns stored data."""
        part = self._part(request.collection, request.generation)
        by_id = {identifier: row for row, identifier in part.rows.items()}
        rows: list[int | None] = [by_id.get(identifier) for identifier in request.ids]
        if request.rows:
            rows = np.frombuffer(request.rows, "<u8").tolist()
        return searcher_pb2.FetchResponse(images=[self._image(part, row, request) for row in rows])

    async def Status(self, request: searcher_pb2.StatusRequest, context: Any) -> searcher_pb2.StatusResponse:
        """Says what is loaded."""
        names = sorted({name for name, _ in [*self._parts, *self.refused]})
        return searcher_pb2.StatusResponse(
            group=self._group, groups=self._groups, collections=[self._loaded(name) for name in names]
        )

    def _search(self, item: searcher_pb2.SearchItem) -> searcher_pb2.SearchResult:
        try:
            return self._answer(item)
        except SightlineError as error:
            return searcher_pb2.SearchResult(error=error_to_message(error))

    def _answer(self, item: searcher_pb2.SearchItem) -> searcher_pb2.SearchResult:
        if not 1 <= item.k <= 1000:
            raise InvalidArgument("k is 1 to 1000", reason="TOP_K_OUT_OF_RANGE", field="k")
        part = self._part(item.collection, item.generation)
        query = vector_from_bytes(item.vector, part.corpus.vectors.shape[1], field="vector")
        among = part.rows
        if item.HasField("filter"):
            condition = from_filter(item.filter)
            check_filter(condition)
            check_types(condition, part.corpus.types)
            met = set(part.corpus.meeting(condition).ids)
            among = {row: identifier for row, identifier in part.rows.items() if identifier in met}
        row_of = {identifier.encode(): row for row, identifier in among.items()}
        ranked = zip(*part.corpus.best(query, len(part.corpus.ids)), strict=True)
        hits = [(identifier, score) for identifier, score in ranked if identifier in row_of][: item.k]
        return searcher_pb2.SearchResult(
            scores=np.array([score for _, score in hits], "<f4").tobytes(),
            rows=np.array([row_of[identifier] for identifier, _ in hits], "<u8").tobytes(),
            ids=b"\0".join(identifier for identifier, _ in hits),
            documents=[part.corpus.document(one.decode()) for one, _ in hits] if item.documents else [],
            shards=part.served,
            images=len(part.rows),
            matched=len(among),
        )

    def _part(self, collection: str, generation: int) -> Part:
        if not self._parts:
            raise FailedPrecondition("nothing has been published yet", reason="NOTHING_PUBLISHED")
        if not any(name == collection for name, _ in self._parts):
            raise NotFound(f"no collection {collection!r}", reason="NO_COLLECTION", field="collection")
        if (part := self._parts.get((collection, generation))) is None:
            raise FailedPrecondition("it is not loaded", reason="GENERATION_NOT_LOADED", field="generation")
        return part

    def _image(self, part: Part, row: int | None, request: searcher_pb2.FetchRequest) -> searcher_pb2.FetchedImage:
        if row is None or row not in part.rows:
            return searcher_pb2.FetchedImage()
        identifier = part.rows[row]
        image = searcher_pb2.FetchedImage(found=True)
        if request.documents:
            image.document = part.corpus.document(identifier)
        if request.thumbnails:
            image.thumbnail = b"thumbnail"
        if request.vectors:
            image.vector = vector_to_bytes(part.corpus.vectors[part.corpus.ids.index(identifier)])
        return image

    def _loaded(self, collection: str) -> searcher_pb2.LoadedCollection:
        return searcher_pb2.LoadedCollection(
            collection=collection,
            generations=sorted(number for name, number in self._parts if name == collection),
            refused=[
                searcher_pb2.RefusedGeneration(generation=number, reason=reason)
                for (name, number), reason in sorted(self.refused.items())
                if name == collection
            ],
        )

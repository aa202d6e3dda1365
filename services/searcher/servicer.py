"""Translates between the wire and the searcher."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.runtime.wire import error_to_message, vector_from_bytes, vector_to_bytes
from services.searcher.holder import Holder
from services.searcher.ports import Generation
from services.searcher.searching import Answer, Query, Searching
from services.store import check_filterable
from sightline._filter_messages import from_filter
from sightline.errors import InvalidArgument, SightlineError
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc

log = logging.getLogger("sightline.searcher")

MAX_K = 1000
MAX_ITEMS = 1024
"""Queries of one call, and images of one fetch."""


class SearcherServicer(searcher_pb2_grpc.SearcherServiceServicer):
    """Serves one group.

    Args:
        holder: what is loaded.
        searching: who searches it.
        group, groups: this group, and how many there are.
    """

    def __init__(self, holder: Holder, searching: Searching, *, group: int, groups: int) -> None:
        self._holder, self._searching, self._group, self._groups = holder, searching, group, groups

    async def Search(self, request: searcher_pb2.SearchRequest, context: Any) -> searcher_pb2.SearchResponse:
        """Answers each query with hits or with an error of its own."""
        _check_count(len(request.items), "items")
        now = asyncio.get_running_loop().time()
        results = await asyncio.gather(*(self._search(item, now) for item in request.items))
        return searcher_pb2.SearchResponse(results=results)

    async def Fetch(self, request: searcher_pb2.FetchRequest, context: Any) -> searcher_pb2.FetchResponse:
        """Returns stored data, read off the event loop."""
        generation = self._holder.get(request.collection, request.generation)
        images = await asyncio.to_thread(_fetch, generation, request)
        return searcher_pb2.FetchResponse(images=images)

    async def Status(self, request: searcher_pb2.StatusRequest, context: Any) -> searcher_pb2.StatusResponse:
        """Says what is loaded."""
        return searcher_pb2.StatusResponse(
            group=self._group,
            groups=self._groups,
            collections=[
                searcher_pb2.LoadedCollection(
                    collection=holding.collection,
                    generations=holding.generations,
                    refused=[
                        searcher_pb2.RefusedGeneration(generation=generation, reason=reason)
                        for generation, reason in sorted(holding.refused.items())
                    ],
                )
                for holding in self._holder.holdings()
            ],
        )

    async def _search(self, item: searcher_pb2.SearchItem, now: float) -> searcher_pb2.SearchResult:
        try:
            query = self._query(item)
            deadline = now + item.remaining_ms / 1000 if item.remaining_ms else None
            answer = await self._searching.search(query, deadline)
        except Exception as error:  # one item's failure is its own
            if not isinstance(error, SightlineError):
                log.error("a query failed", exc_info=error)
            return searcher_pb2.SearchResult(error=error_to_message(error))
        return _result(query.generation, answer)

    def _query(self, item: searcher_pb2.SearchItem) -> Query:
        if not 1 <= item.k <= MAX_K:
            raise InvalidArgument(f"k is 1 to {MAX_K}, not {item.k}", reason="TOP_K_OUT_OF_RANGE", field="k")
        generation = self._holder.get(item.collection, item.generation)
        vector = vector_from_bytes(item.vector, generation.manifest.model.dimension, field="vector")
        condition = from_filter(item.filter) if item.HasField("filter") else None
        if condition:
            check_filterable(generation.manifest, condition)
        return Query(generation, vector, item.k, item.documents, condition)


def _result(generation: Generation, answer: Answer) -> searcher_pb2.SearchResult:
    return searcher_pb2.SearchResult(
        scores=vector_to_bytes(answer.hits.scores),
        rows=answer.hits.rows.astype("<u8").tobytes(),
        ids=b"\0".join(answer.hits.ids),
        documents=answer.documents,
        shards=len(generation.shards),
        images=generation.images,
        matched=answer.hits.matched,
    )


def _fetch(generation: Generation, request: searcher_pb2.FetchRequest) -> list[searcher_pb2.FetchedImage]:
    rows = _rows(generation, request)
    found = [row for row in rows if row is not None]
    documents = generation.documents(found) if request.documents else [b""] * len(found)
    thumbnails = generation.thumbnails(found) if request.thumbnails else [b""] * len(found)
    vectors = [vector_to_bytes(one) for one in generation.vectors(found)] if request.vectors else [b""] * len(found)
    images = iter(
        searcher_pb2.FetchedImage(found=True, document=document, thumbnail=thumbnail, vector=vector)
        for document, thumbnail, vector in zip(documents, thumbnails, vectors, strict=True)
    )
    return [searcher_pb2.FetchedImage() if row is None else next(images) for row in rows]


def _rows(generation: Generation, request: searcher_pb2.FetchRequest) -> Sequence[int | None]:
    """Returns the packed row of each image asked for; None for those that are not here."""
    if not request.rows:
        _check_count(len(request.ids), "ids")
        return generation.find(request.ids)
    if len(request.rows) % 8:
        message = f"rows are uint64, so their bytes a multiple of 8, not {len(request.rows)}"
        raise InvalidArgument(message, reason="BAD_ROWS", field="rows")
    packed = np.frombuffer(request.rows, dtype="<u8").tolist()
    _check_count(len(packed), "rows")
    return [row if generation.has(row) else None for row in packed]


def _check_count(count: int, field: str) -> None:
    if count > MAX_ITEMS:
        raise InvalidArgument(f"at most {MAX_ITEMS} at a time, not {count}", reason="TOO_MANY_ITEMS", field=field)

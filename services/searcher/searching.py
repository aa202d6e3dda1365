"""Queries to hits: whatever queued while the last batch was away is searched together, on one thread.

One thread, because a second would take the cores and the memory bandwidth from the first, and both would be later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from services.runtime.batcher import Batcher
from services.runtime.metrics import QueueMetrics
from services.searcher.metrics import queries_total, search_seconds
from services.searcher.ports import Generation, Hits
from sightline.filters import Filter

MAX_DOCUMENTS = 256 * 1024
"""Bytes of documents that ride along with the hits of one query; larger ones are fetched by whoever wants them."""


@dataclass(frozen=True, slots=True)
class Query:
    """One query.

    Attributes:
        generation: what to search. It stays loaded as long as the query lives.
        vector: float32 [dimension], unit.
        k: how many hits, at the most.
        documents: whether the hits' documents are wanted.
        condition: what images must meet, checked; None where all will do.
    """

    generation: Generation
    vector: NDArray[np.float32] = field(repr=False)
    k: int
    documents: bool = False
    condition: Filter | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The hits of one query, and their documents where they were wanted."""

    hits: Hits
    documents: list[bytes]


class Searching:
    """The queue, and the thread behind it.

    Args:
        max_batch: the most queries that are searched together.
        capacity: queries that may wait.
        prepare: called first on the searching thread.
    """

    def __init__(self, *, max_batch: int, capacity: int, prepare: Callable[[], None] = lambda: None) -> None:
        self._thread = ThreadPoolExecutor(1, "search", initializer=prepare)
        self._batcher: Batcher[Query, Answer] = Batcher(
            self._run,
            name="searcher",
            capacity=capacity,
            max_weight=max_batch,
            lanes=1,
            observer=QueueMetrics("searcher"),
        )

    async def search(self, query: Query, deadline: float | None = None) -> Answer:
        """Returns the query's answer; `deadline` is in `loop.time()` seconds.

        Raises:
            ResourceExhausted: too many wait.
            DeadlineExceeded: the deadline passed; a query whose deadline passes in the queue is never computed.
        """
        return await self._batcher.submit(query, deadline)

    async def close(self) -> None:
        """Answers what waits, takes no more, and ends the thread."""
        await self._batcher.close()
        self._thread.shutdown()

    async def _run(self, batch: Sequence[Query]) -> Sequence[Answer]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, _search, batch)


def _search(batch: Sequence[Query]) -> list[Answer]:
    """Searches each generation once, with all the queries that ask for it."""
    by_generation: dict[int, list[int]] = {}
    for place, query in enumerate(batch):
        by_generation.setdefault(id(query.generation), []).append(place)
    answers: dict[int, Answer] = {}
    with search_seconds.time():
        for places in by_generation.values():
            answers.update(zip(places, _search_one([batch[place] for place in places]), strict=True))
    queries_total.inc(len(batch))
    return [answers[place] for place in range(len(batch))]


def _search_one(queries: Sequence[Query]) -> list[Answer]:
    generation = queries[0].generation
    vectors, ks = np.stack([query.vector for query in queries]), [query.k for query in queries]
    found = generation.search(vectors, ks, [query.condition for query in queries])
    return [
        Answer(hits, _riding(generation.documents(hits.rows.tolist())) if query.documents else [])
        for query, hits in zip(queries, found, strict=True)
    ]


def _riding(documents: list[bytes]) -> list[bytes]:
    """Returns the documents, or none where they are so large that those of a whole batch would not fit a message."""
    return documents if sum(map(len, documents)) <= MAX_DOCUMENTS else []

"""The way of a question: cache → encode → fan out → merge → reply."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol, TypeVar

from services.gateway.answers import Answer, GroupHits, Hit, Reply, Source, Times
from services.gateway.metrics import covered
from services.gateway.questions import Question, answer_key
from services.gateway.single_flight import SingleFlight
from services.gateway.vectors import Vector, Vectors
from services.runtime.ranking import merge
from services.store import Manifest, check_filterable
from sightline.errors import DeadlineExceeded, FailedPrecondition, SightlineError, Unavailable
from sightline.filters import Filter

NOT_LOADED = "GENERATION_NOT_LOADED"

INLINE_K = 32
"""Up to this many hits the documents ride along with each group's hits; for more, only the winners' are fetched."""


T = TypeVar("T")


class Collections(Protocol):
    """Knows the collections."""

    async def resolve(self, collection: str, generation: int, deadline: float) -> Manifest:
        """Returns the manifest that answers: of the generation asked for, or of the current one where that is 0."""

    async def refresh(self, deadline: float) -> None:
        """Looks at the store now."""


class Searchers(Protocol):
    """All searcher groups."""

    async def search(
        self,
        manifest: Manifest,
        vector: Vector,
        k: int,
        *,
        documents: bool,
        deadline: float,
        condition: Filter | None = None,
    ) -> Sequence[GroupHits | SightlineError]:
        """Returns each group's best `k` of what meets the condition, or why there are none."""

    async def documents(self, manifest: Manifest, rows: Sequence[int], *, deadline: float) -> Mapping[int, bytes]:
        """Returns the documents of rows (shard << 32 | row), as far as their groups answer."""


class Cache(Protocol):
    """Written answers by key. It forgets, but never fails."""

    async def get(self, key: bytes) -> tuple[bytes, Source] | None:
        """Returns the answer and which level had it."""

    def peek(self, key: bytes) -> bytes | None:
        """Returns the answer if this process has it."""

    def put(self, key: bytes, body: bytes) -> None:
        """Remembers an answer."""


@dataclass(frozen=True, slots=True)
class _Computed:
    """`deadline` is that of the computation where it came too early for some shards, else None."""

    body: bytes
    times: Times
    shards_missing: int
    deadline: float | None


class Search:
    """Answers questions.

    Args:
        write: turns an answer, with the image fields to keep, into the bytes that are sent and stored.
        expand: says a question also in other words, before anything else; what is cached is then its answer.
    """

    def __init__(
        self,
        collections: Collections,
        vectors: Vectors,
        searchers: Searchers,
        cache: Cache,
        write: Callable[[Answer, Sequence[str]], bytes],
        *,
        expand: Callable[[Question], Question] | None = None,
    ) -> None:
        self._collections, self._vectors, self._searchers = collections, vectors, searchers
        self._cache, self._write, self._expand = cache, write, expand
        self._flights: SingleFlight[bytes, _Computed] = SingleFlight()

    async def __call__(self, question: Question, deadline: float) -> Reply:
        """Returns the reply.

        Args:
            question: checked.
            deadline: in `loop.time()` seconds.

        Raises:
            NotFound: no such collection, or no image of an id asked for.
            InvalidArgument: a vector has the wrong length, a weighted sum is zero, or a filter asks for attributes that
                the collection does not have.
            FailedPrecondition: the pinned generation is not loaded, no encoder has the collection's model, or the
                generation was built without what filters need.
            Unavailable: no shard answered, or some did not where a partial answer was refused.
            DeadlineExceeded: the deadline passed.
        """
        if self._expand:
            question = self._expand(question)
        if question.generation:
            return await self._answer(question, deadline)
        return await currently(self._collections, lambda: self._answer(question, deadline), deadline)

    async def _answer(self, question: Question, deadline: float) -> Reply:
        began = time.perf_counter()
        manifest = await self._collections.resolve(question.collection, question.generation, deadline)
        if question.condition:
            check_filterable(manifest, question.condition)
        reading = self._vectors.reading(manifest)
        key = answer_key(question, manifest.collection, manifest.generation, manifest.model.digest, reading)
        found = await self._cache.get(key)
        looked = time.perf_counter() - began
        if not found and (body := self._cache.peek(key)) is not None:
            # It was computed while we asked the shared cache: without this second look it would be computed again.
            found = body, Source.LOCAL
        if found:
            body, level = found
            return Reply(body, level, Times(total=time.perf_counter() - began, cache=looked))

        async def work(latest: float) -> _Computed:
            return await self._compute(question, manifest, key, latest, reading)

        done, joined = await self._flights.run(key, work, deadline)
        if done.deadline is not None and done.deadline < deadline:
            # It was cut short for someone who had less time than we have.
            return await self._answer(question, deadline)
        if done.shards_missing and question.refuse_partial:
            missing = f"{done.shards_missing} of {len(manifest.shards)} shards did not answer"
            raise Unavailable(missing, reason="SHARDS_MISSING")
        times = replace(done.times, total=time.perf_counter() - began, cache=looked)
        return Reply(done.body, Source.JOINED if joined else Source.MISS, times)

    async def _compute(
        self, question: Question, manifest: Manifest, key: bytes, deadline: float, reading: str
    ) -> _Computed:
        wanted = question.fields != ("id",)
        inline = wanted and question.k <= INLINE_K
        clock = [time.perf_counter()]
        vector = await self._vectors.of(question, manifest, deadline, reading=reading)
        clock.append(time.perf_counter())
        groups = await self._searchers.search(
            manifest, vector, question.k, documents=inline, deadline=deadline, condition=question.condition
        )
        clock.append(time.perf_counter())
        answered = _answered(groups)
        hits = _merged(answered, question)
        clock.append(time.perf_counter())
        # Many hits, or large documents, which do not ride along.
        if wanted and (rows := [hit.row for hit in hits if not hit.document]):
            found = await self._searchers.documents(manifest, rows, deadline=deadline)
            hits = [replace(hit, document=hit.document or found.get(hit.row, b"")) for hit in hits]
        clock.append(time.perf_counter())
        answer = _assemble(answered, hits, manifest, lost=sum(not hit.document for hit in hits) if wanted else 0)
        covered(answer)
        body = self._write(answer, question.fields)
        if not answer.degraded:
            self._cache.put(key, body)
        encode, search, merging, fetch = (later - earlier for earlier, later in pairwise(clock))
        times = Times(encode=encode, search=search, merge=merging, fetch=fetch)
        late = any(isinstance(group, DeadlineExceeded) for group in groups)
        return _Computed(body, times, answer.shards_asked - answer.shards_answered, deadline if late else None)


async def currently(collections: Collections, ask: Callable[[], Awaitable[T]], deadline: float) -> T:
    """Asks of the current generation; where no searcher has what we took for it, looks at the store and asks again.

    Raises:
        Unavailable: no searcher has what is current: they are loading.
    """
    try:
        return await ask()
    except FailedPrecondition as error:
        if error.reason != NOT_LOADED:
            raise
    await collections.refresh(deadline)
    try:
        return await ask()
    except FailedPrecondition as error:
        if error.reason != NOT_LOADED:
            raise
        raise Unavailable(f"the searchers are loading: {error.message}", reason="WARMING_UP") from error


def _answered(groups: Sequence[GroupHits | SightlineError]) -> list[GroupHits]:
    """Returns the groups that answered; raises the first failure where none did."""
    answered = [group for group in groups if isinstance(group, GroupHits)]
    if answered:
        return answered
    raise next((group for group in groups if isinstance(group, SightlineError)), Unavailable("no searcher is up"))


def _merged(answered: Sequence[GroupHits], question: Question) -> list[Hit]:
    hits = []
    for which, place in merge([(group.scores, group.ids) for group in answered], question.k):
        group = answered[which]
        score = float(group.scores[place])
        if question.min_score is not None and score < question.min_score:
            continue
        document = group.documents[place] if group.documents else b""
        hits.append(Hit(group.ids[place], score, int(group.rows[place]), document))
    return hits


def _assemble(answered: Sequence[GroupHits], hits: Sequence[Hit], manifest: Manifest, *, lost: int) -> Answer:
    shards = sum(group.shards for group in answered)
    degraded = []
    if shards < len(manifest.shards):
        degraded.append(("SHARDS_MISSING", f"{len(manifest.shards) - shards} of {len(manifest.shards)} shards missing"))
    if lost:
        degraded.append(("IMAGES_MISSING", f"the fields of {lost} of {len(hits)} hits could not be fetched"))
    return Answer(
        hits=hits,
        shards_asked=len(manifest.shards),
        shards_answered=shards,
        images_searched=sum(group.images for group in answered),
        images_matched=sum(group.matched for group in answered),
        degraded=degraded,
        model=manifest.model,
        generation=manifest.generation,
    )

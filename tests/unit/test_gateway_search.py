"""services/gateway/search.py: the way of a question."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from services.gateway.answers import Answer, GroupHits, Reply, Source
from services.gateway.questions import Question, WeightedTerm
from services.gateway.questions import Stored as StoredImage
from services.gateway.search import Search
from services.gateway.vectors import Vectors
from services.store import Shard
from sightline.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    SightlineError,
    Unavailable,
)
from sightline.filters import Filter, attribute
from tests.unit.gateway_fakes import Cache, Collections, Encoder, Searchers, group, manifest, question


class Gateway:
    """A search use case between fakes; `answers` remembers what was written."""

    def __init__(self, searchers: Searchers) -> None:
        self.collections, self.encoder, self.searchers, self.cache = Collections(), Encoder(), searchers, Cache()
        self.answers: list[Answer] = []
        vectors = Vectors(self.encoder, searchers)
        self.search = Search(self.collections, vectors, searchers, self.cache, self._write)

    def _write(self, answer: Answer, fields: Sequence[str]) -> bytes:
        self.answers.append(answer)
        return b"|".join(hit.id + b"=" + hit.document for hit in answer.hits)

    async def ask(self, asked: Question, seconds: float = 5.0) -> Reply:
        return await self.search(asked, asyncio.get_running_loop().time() + seconds)


def two_groups() -> Searchers:
    return Searchers(group((0.9, b"a"), (0.5, b"b"), (0.1, b"e")), group((0.7, b"c"), (0.5, b"a2"), shard=1))


async def test_the_groups_hits_are_merged_best_first_and_ties_by_id() -> None:
    """The hits of all groups are merged by score, and equal scores by id."""
    gateway = Gateway(two_groups())
    reply = await gateway.ask(question(k=4))
    assert reply.body == b"a=doc:a|c=doc:c|a2=doc:a2|b=doc:b"
    assert reply.source is Source.MISS
    answer = gateway.answers[0]
    assert (answer.shards_asked, answer.shards_answered, answer.images_searched, answer.degraded) == (2, 2, 20, [])


async def test_hits_below_the_minimum_are_left_out() -> None:
    """A hit that scores less than min_score is no hit."""
    assert (await Gateway(two_groups()).ask(question(min_score=0.6))).body == b"a=doc:a|c=doc:c"


async def test_the_second_answer_comes_from_the_cache() -> None:
    """The same question again is answered from the cache, and nothing is computed for it."""
    gateway = Gateway(two_groups())
    first, second = await gateway.ask(question()), await gateway.ask(question())
    assert (second.body, second.source) == (first.body, Source.LOCAL)
    assert (len(gateway.encoder.encoded), second.times.encode) == (1, 0.0)


async def test_a_new_generation_is_not_answered_from_the_old_ones_cache() -> None:
    """What was answered by one generation is not given for another."""
    gateway = Gateway(two_groups())
    await gateway.ask(question())
    gateway.collections.manifest = manifest(2)
    assert (await gateway.ask(question())).source is Source.MISS
    assert [generation for generation, _, _ in gateway.searchers.asked] == [1, 2]


async def test_texts_that_come_to_be_translated_are_not_answered_from_before() -> None:
    """What was answered while texts were read as they are is not given once they are translated first, nor after."""
    gateway, sources = Gateway(two_groups()), []
    for reading in ("", "translated", "", "translated"):
        gateway.encoder.read_as = reading
        sources.append((await gateway.ask(question())).source)
    assert sources == [Source.MISS, Source.MISS, Source.LOCAL, Source.LOCAL]
    assert gateway.encoder.wanted == ["", "translated"]


async def test_a_missing_group_makes_a_partial_answer_that_says_so_and_is_not_stored() -> None:
    """Where a group does not answer, the reply says what is missing and is never stored."""
    gateway = Gateway(Searchers(group((0.9, b"a")), Unavailable("gone")))
    reply = await gateway.ask(question())
    assert reply.body == b"a=doc:a"
    assert gateway.answers[0].shards_answered == 1
    assert gateway.answers[0].degraded[0][0] == "SHARDS_MISSING"
    assert gateway.cache.bodies == {}


async def test_a_partial_answer_can_be_refused() -> None:
    """A caller who refuses partial answers gets UNAVAILABLE, while one who joined the same search gets the answer."""
    gateway = Gateway(Searchers(group((0.9, b"a")), Unavailable("gone")))
    refused, taken = await asyncio.gather(
        gateway.ask(question(refuse_partial=True)), gateway.ask(question()), return_exceptions=True
    )
    assert isinstance(refused, Unavailable)
    assert "1 of 2 shards" in str(refused)
    assert isinstance(taken, Reply)


async def test_no_group_at_all_is_no_answer() -> None:
    """Where no group answers there is an error, not an empty answer."""
    with pytest.raises(Unavailable, match="gone"):
        await Gateway(Searchers(Unavailable("gone"), Unavailable("gone"))).ask(question())


async def test_identical_questions_in_flight_are_computed_once() -> None:
    """Identical questions at the same time share one encode and one search, and say that they joined."""
    gateway = Gateway(two_groups())
    replies = await asyncio.gather(*(gateway.ask(question()) for _ in range(50)))
    assert len(gateway.encoder.encoded) == len(gateway.searchers.asked) == 1
    assert sorted(reply.source.name for reply in replies) == ["JOINED"] * 49 + ["MISS"]


async def test_a_first_caller_who_leaves_fails_nobody() -> None:
    """Those who joined get their answer although the first caller was cancelled, or had too little time."""
    gateway = Gateway(two_groups())
    gateway.encoder.gate.clear()
    cancelled = asyncio.create_task(gateway.ask(question()))
    hasty = asyncio.create_task(gateway.ask(question(), seconds=0.02))
    patient = asyncio.create_task(gateway.ask(question()))
    await asyncio.sleep(0.01)
    cancelled.cancel()
    with pytest.raises(DeadlineExceeded):
        await hasty
    gateway.encoder.gate.set()
    assert (await patient).body.startswith(b"a=")
    assert len(gateway.encoder.encoded) == 1


async def test_whoever_comes_as_the_last_one_leaves_starts_afresh() -> None:
    """A question asked in the very turn in which the last caller left is not drawn into that one's cancellation."""
    gateway = Gateway(two_groups())
    gateway.encoder.gate.clear()
    leaving = asyncio.create_task(gateway.ask(question()))
    await asyncio.sleep(0.01)
    coming: list[asyncio.Task[Reply]] = []
    leaving.add_done_callback(lambda _: coming.append(asyncio.create_task(gateway.ask(question()))))
    leaving.cancel()
    await asyncio.sleep(0.01)
    gateway.encoder.gate.set()
    assert (await coming[0]).source is Source.MISS


async def test_many_hits_are_fetched_after_the_merge() -> None:
    """Above 32 hits the groups send no documents; only the winners' are fetched."""
    gateway = Gateway(two_groups())
    reply = await gateway.ask(question(k=33))
    assert gateway.searchers.asked == [(1, 33, False)]
    assert [len(rows) for rows in gateway.searchers.fetched] == [5]
    assert b"c=row:%d" % (1 << 32) in reply.body


async def test_documents_that_cannot_be_fetched_degrade_the_answer() -> None:
    """Where a winner's document cannot be fetched the reply says so and is not stored."""
    gateway = Gateway(two_groups())
    gateway.searchers.lost = {1 << 32}
    await gateway.ask(question(k=33))
    assert [reason for reason, _ in gateway.answers[0].degraded] == ["IMAGES_MISSING"]
    assert gateway.cache.bodies == {}


async def test_ids_alone_fetch_nothing() -> None:
    """A question for ids alone asks nobody for documents."""
    gateway = Gateway(two_groups())
    await gateway.ask(question(k=100, fields=("id",)))
    assert (gateway.searchers.asked, gateway.searchers.fetched) == ([(1, 100, False)], [])
    assert gateway.answers[0].degraded == []


async def test_an_unknown_image_is_not_found() -> None:
    """A query by the id of an image that is not there is NOT_FOUND and names the field."""
    asked = question(terms=(WeightedTerm(1.0, StoredImage("nobody"), "query.image_id"),))
    with pytest.raises(NotFound) as caught:
        await Gateway(two_groups()).ask(asked)
    assert caught.value.field == "query.image_id"


class GoneThenThere(Searchers):
    """Has generation 2 only."""

    async def search(self, manifest, vector, k, *, documents, deadline, condition=None):  # type: ignore[no-untyped-def]
        if manifest.generation != 2:
            raise FailedPrecondition("not loaded", reason="GENERATION_NOT_LOADED")
        return await super().search(manifest, vector, k, documents=documents, deadline=deadline)


async def test_a_generation_that_is_gone_is_looked_up_again_once() -> None:
    """Where no searcher has what was current, the store is asked again; a pinned generation is refused."""
    gateway = Gateway(GoneThenThere(group((0.9, b"a")), group((0.8, b"b"))))
    gateway.collections.after_refresh = manifest(2)
    assert (await gateway.ask(question())).body == b"a=doc:a|b=doc:b"
    with pytest.raises(SightlineError) as caught:
        await gateway.ask(question(generation=1))
    assert caught.value.reason == "GENERATION_NOT_LOADED"


async def test_a_generation_that_nobody_has_yet_is_unavailable_not_wrong() -> None:
    """Where all searchers are still loading what is current, the caller is told to try again."""
    gateway = Gateway(GoneThenThere())
    with pytest.raises(Unavailable, match="loading"):
        await gateway.ask(question())


class SlowGroup(Searchers):
    """Has a second group that answers only those who have a second."""

    async def search(self, manifest, vector, k, *, documents, deadline, condition=None):  # type: ignore[no-untyped-def]
        left = deadline - asyncio.get_running_loop().time()
        await asyncio.sleep(min(left * 0.9, 0.2))
        return self.answers if left > 1 else [self.answers[0], DeadlineExceeded("too late")]


async def test_a_first_caller_in_a_hurry_does_not_cut_the_answer_of_a_patient_one() -> None:
    """A partial answer that was cut short for one caller is not given to another who has the time for a whole one."""
    gateway = Gateway(SlowGroup(*two_groups().answers))
    hasty = asyncio.create_task(gateway.ask(question(), seconds=0.1))
    await asyncio.sleep(0.01)
    patient = asyncio.create_task(gateway.ask(question(refuse_partial=True)))
    assert (await hasty).body == b"a=doc:a|b=doc:b|e=doc:e"
    assert (await patient).body == b"a=doc:a|c=doc:c|a2=doc:a2"


async def test_large_documents_that_did_not_ride_along_are_fetched() -> None:
    """Hits whose documents a group left out have them fetched, also below 33 hits."""
    first, second = two_groups().answers
    assert isinstance(second, GroupHits)
    gateway = Gateway(Searchers(first, replace(second, documents=[])))
    reply = await gateway.ask(question(k=2))
    assert reply.body == b"a=doc:a|c=row:%d" % (1 << 32)


class SlowCache(Cache):
    """Looks for so long that what it did not find has been put meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()

    async def get(self, key: bytes) -> tuple[bytes, Source] | None:
        found = await super().get(key)
        await self.gate.wait()
        return found


async def test_what_is_computed_during_a_slow_look_is_not_computed_again() -> None:
    """A question whose look into the caches outlasts the computation of the same question is answered from it."""
    gateway = Gateway(two_groups())
    slow = SlowCache()
    other = Search(
        gateway.collections, Vectors(gateway.encoder, gateway.searchers), gateway.searchers, slow, gateway._write
    )
    late = asyncio.create_task(other(question(), asyncio.get_running_loop().time() + 5))
    await asyncio.sleep(0)
    await gateway.ask(question())
    slow.bodies = gateway.cache.bodies
    slow.gate.set()
    assert (await late).source is Source.LOCAL
    assert len(gateway.encoder.encoded) == 1


async def test_a_filter_goes_to_the_searchers_and_its_matches_are_counted() -> None:
    """The searchers are asked with the filter; the answer says how many images meet it, and is cached under it."""
    answers = (replace(group((0.9, b"a")), matched=3), replace(group((0.8, b"b"), shard=1), matched=4))
    searchers, wanted = Searchers(*answers), attribute("year").between(2000, 2010)
    gateway = Gateway(searchers)
    await gateway.ask(question(condition=wanted))
    assert searchers.conditions == [wanted]
    assert gateway.answers[0].images_matched == 7
    assert (await gateway.ask(question(condition=wanted))).source is Source.LOCAL
    assert (await gateway.ask(question())).source is Source.MISS


@pytest.mark.parametrize("condition", [attribute("size").exists(), attribute("year").equals("2001")])
async def test_a_filter_that_does_not_fit_the_collection_is_refused_before_anybody_is_asked(condition: Filter) -> None:
    """Attributes that the collection does not have, and values of another type, cost neither encoder nor searchers."""
    searchers = two_groups()
    gateway = Gateway(searchers)
    with pytest.raises(InvalidArgument, match=r"size|year"):
        await gateway.ask(question(condition=condition))
    assert searchers.asked == []


async def test_a_generation_without_a_table_of_attributes_takes_no_filters() -> None:
    """A generation that was built before there were filters is searched as ever, and says why it cannot be filtered."""
    gateway = Gateway(two_groups())
    old = replace(gateway.collections.manifest, shards=(Shard(0, 10, ()), Shard(1, 10, ())))
    gateway.collections.manifest = old
    assert (await gateway.ask(question())).body
    with pytest.raises(FailedPrecondition, match="build and publish it anew") as caught:
        await gateway.ask(question(condition=attribute("year").exists()))
    assert caught.value.reason == "NOT_FILTERABLE"

"""The gateway's smaller parts: keys, requests, vectors, splicing, catalog, local cache."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from google.protobuf.message import Message

from services.gateway import requests, splice
from services.gateway.answers import Answer, Hit, Reply, Source, Times
from services.gateway.cache import LocalCache
from services.gateway.catalog import Catalog
from services.gateway.questions import Direction, Question, Stored, Text, WeightedTerm, answer_key, normalise
from services.gateway.servicer import Deadlines
from services.gateway.single_flight import SingleFlight
from services.gateway.vectors import Vectors, unit
from services.runtime.wire import vector_to_bytes
from services.store import Manifest, Pointer, Pointers
from sightline.errors import FailedPrecondition, InvalidArgument, NotFound, SightlineError, Unavailable
from sightline.filters import attribute
from sightline.internal.v1 import splice_pb2
from sightline.v1 import common_pb2, search_pb2
from tests.unit.gateway_fakes import MODEL, Encoder, Searchers, manifest, question

LATER = 1e9


def key(asked: Question, generation: int = 1, digest: str = "d1") -> bytes:
    return answer_key(asked, "pets", generation, digest)


def test_spellings_of_one_query_share_a_key() -> None:
    """Texts that differ in white space or in Unicode composition alone are the same query; others are not."""
    assert normalise("  café\t noir ") == normalise("cafe\u0301 noir") == "café noir"
    assert normalise("Café") != normalise("café")


def test_whatever_changes_the_answer_changes_the_key() -> None:
    """Every part of a question that its answer depends on is part of its key."""
    base = question("dog")
    two = (WeightedTerm(1.0, Text("a"), ""), WeightedTerm(1.0, Text("b"), ""))
    others = [
        key(base, generation=2),
        key(base, digest="d2"),
        key(question("dogs")),
        key(question("dog", k=4)),
        key(question("dog", min_score=0.0)),
        key(question("dog", fields=("uri",))),
        key(question(terms=(WeightedTerm(1.0, Stored("dog"), ""),))),
        key(question(terms=(WeightedTerm(0.5, Text("dog"), ""),))),
        key(question(terms=two)),
        key(question(terms=(WeightedTerm(1.0, Text("ab"), ""),))),
        key(question("dog", condition=attribute("year").equals(1))),
        key(question("dog", condition=attribute("year").equals(2))),
        key(question("dog", condition=~attribute("year").equals(1))),
        key(question("dog", condition=attribute("year").one_of(1, 2))),
    ]
    assert len({key(base), *others}) == 1 + len(others)
    assert key(base) == key(question("dog", refuse_partial=True))


def test_filters_that_differ_in_order_alone_share_a_key() -> None:
    """The order of conditions, and that of the values of one, changes neither the answer nor its key."""
    fruit, year = attribute("group").one_of("fruit", "nut"), attribute("year").between(2000)
    turned = year & attribute("group").one_of("nut", "fruit", "nut")
    assert key(question(condition=fruit & year)) == key(question(condition=turned))
    assert key(question(condition=fruit & year)) != key(question(condition=fruit | year))


@pytest.mark.parametrize(
    ("request_", "field", "says"),
    [
        ({"query": {"text": ""}}, "query.text", "empty"),
        ({"query": {"text": " \n"}}, "query.text", "empty"),
        ({"query": {"text": "x" * 1_000_000}}, "query.text", "4,096"),
        ({"query": {"text": "x"}, "top_k": 0}, "top_k", "1 to 1,000"),
        ({"query": {"text": "x"}, "top_k": 10**6}, "top_k", "1 to 1,000"),
        ({"query": {"text": "x"}, "min_score": float("nan")}, "min_score", "-1 to 1"),
        ({"query": {"text": "x"}, "fields": {"paths": ["colour"]}}, "fields", "caption"),
        ({"query": {"image": b""}}, "query.image", "empty"),
        ({"query": {"image": b"x" * (10 * 1024 * 1024 + 1)}}, "query.image", "10,485,760"),
        ({"query": {"image_id": ""}}, "query.image_id", "1 to 512"),
        ({"query": {}}, "query", "a text"),
        ({"query": {"weighted": {}}}, "query.weighted.terms", "1 to 16"),
        ({"query": {"weighted": {"terms": [{"weight": 0, "text": "x"}]}}}, "query.weighted.terms[0].weight", "zero"),
        ({"query": {"weighted": {"terms": [{"weight": 1}]}}}, "query.weighted.terms[0]", "a text"),
    ],
)
def test_bad_requests_name_the_field_and_the_limit(request_: dict[str, object], field: str, says: str) -> None:
    """A request that is wrong in itself is refused with the field and its limit."""
    with pytest.raises(InvalidArgument) as caught:
        requests.question(search_pb2.SearchRequest(**request_))  # type: ignore[arg-type]
    assert caught.value.field == field
    assert says in caught.value.message


@pytest.mark.parametrize(
    ("filter_", "field", "says"),
    [
        ({}, "filter", "all, any or none"),
        ({"all": {}}, "filter.all", "at least one"),
        ({"none": {"filters": [{"condition": {"attribute": "a"}}]}}, "filter.none.filters[0].condition", "exists"),
        ({"condition": {"exists": True}}, "filter.condition.attribute", "name an attribute"),
        ({"condition": {"attribute": "a", "equals": {}}}, "filter.condition.equals", "a value"),
        ({"condition": {"attribute": "a", "in": {}}}, "filter.condition.in.values", "1 to 4,096"),
        (
            {"condition": {"attribute": "a", "in": {"values": [{"int_value": n} for n in range(4097)]}}},
            "filter.condition.in.values",
            "1 to 4,096",
        ),
        ({"condition": {"attribute": "a", "range": {}}}, "filter.condition.range", "an end"),
        (
            {"condition": {"attribute": "a", "range": {"less_than": {"double_value": float("nan")}}}},
            "filter.condition.range.less_than",
            "NaN",
        ),
        (
            {"condition": {"attribute": "a", "equals": {"strings_value": {"values": ["x"]}}}},
            "filter.condition.equals",
            "one value",
        ),
        (
            {"any": {"filters": [{"condition": {"attribute": "a", "equals": {"string_value": "x" * 16_385}}}]}},
            "filter.any.filters[0].condition.equals",
            "16,384",
        ),
        ({"any": {"filters": [{"condition": {"attribute": "a", "exists": True}}] * 256}}, "filter", "256"),
    ],
)
def test_bad_filters_name_the_field_and_the_limit(filter_: dict[str, object], field: str, says: str) -> None:
    """A filter that is wrong in itself is refused with the place in it and the limit."""
    asked = search_pb2.SearchRequest(query={"text": "x"}, filter=filter_)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgument) as caught:
        requests.question(asked)
    assert caught.value.field == field
    assert says in caught.value.message


def test_filters_are_nested_up_to_a_limit() -> None:
    """A filter may be 8 levels deep and no deeper."""
    deep = common_pb2.Filter(condition=common_pb2.Condition(attribute="a", exists=True))
    for _ in range(7):
        deep = common_pb2.Filter(all=common_pb2.FilterList(filters=[deep]))
    query = search_pb2.Query(text="x")
    assert requests.question(search_pb2.SearchRequest(query=query, filter=deep)).condition is not None
    deeper = common_pb2.Filter(none=common_pb2.FilterList(filters=[deep]))
    with pytest.raises(InvalidArgument, match="8 levels"):
        requests.question(search_pb2.SearchRequest(query=query, filter=deeper))


async def of(*terms: WeightedTerm) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return await Vectors(Encoder(), Searchers()).of(question(terms=terms), manifest(), LATER)


def direction(*values: float) -> Direction:
    return Direction(vector_to_bytes(np.array(values, dtype=np.float32)))


async def test_a_weighted_query_is_the_unit_vector_of_the_weighted_sum_of_unit_vectors() -> None:
    """Only the directions of the terms count, and the result has length 1."""
    vector = await of(WeightedTerm(3.0, direction(10, 0), ""), WeightedTerm(-4.0, Stored("known"), ""))
    np.testing.assert_allclose(vector, [0.6, -0.8], atol=1e-7)


async def test_a_single_negative_term_points_the_other_way() -> None:
    """One term with a negative weight is the opposite direction."""
    np.testing.assert_allclose(await of(WeightedTerm(-2.0, direction(0, 5), "")), [0, -1], atol=1e-7)


async def test_terms_that_cancel_out_are_refused() -> None:
    """A sum without a direction is an error that names the field."""
    with pytest.raises(InvalidArgument) as caught:
        await of(WeightedTerm(1.0, Stored("known"), ""), WeightedTerm(-1.0, direction(0, 2), ""))
    assert caught.value.field == "query.weighted"


@pytest.mark.parametrize("values", [(1.0,), (1.0, float("nan")), (float("inf"), 1.0), (0.0, 0.0)])
async def test_vectors_that_have_no_direction_here_are_refused(values: tuple[float, ...]) -> None:
    """A vector of another length, of values that are not finite, or zero, is refused by its field."""
    with pytest.raises(InvalidArgument) as caught:
        await of(WeightedTerm(1.0, direction(*values), "query.vector"))
    assert caught.value.field == "query.vector"


def test_very_small_and_very_large_vectors_have_a_direction() -> None:
    """The direction of a vector survives values whose squares do not fit a float."""
    np.testing.assert_allclose(unit(np.array([3e-300, 4e-300]), "v"), [0.6, 0.8], atol=1e-7)
    np.testing.assert_allclose(unit(np.array([3e300, 4e300]), "v"), [0.6, 0.8], atol=1e-7)


def fields_of(message: Any) -> dict[str, int]:
    return {field.name: field.number for field in message.fields}


def test_spliced_messages_agree_with_their_public_twins() -> None:
    """Each spliced message has its twin's fields by name and number."""
    twins: dict[type[Message], type[Message]] = {
        splice_pb2.SplicedHit: search_pb2.Hit,
        splice_pb2.SplicedSearchBody: search_pb2.SearchResponse,
        splice_pb2.SplicedSearchBatchItem: search_pb2.SearchBatchItem,
        splice_pb2.SplicedSearchBatchResponse: search_pb2.SearchBatchResponse,
        splice_pb2.SplicedSearchStreamResponse: search_pb2.SearchStreamResponse,
    }
    for spliced, public in twins.items():
        assert fields_of(spliced.DESCRIPTOR).items() <= fields_of(public.DESCRIPTOR).items()


IMAGE = common_pb2.Image(
    id="a", uri="a.png", caption="A", width=3, attributes={"x": common_pb2.Value(int_value=1), "y": common_pb2.Value()}
)


def spliced(fields: tuple[str, ...]) -> search_pb2.SearchResponse:
    answer = Answer([Hit(b"a", 0.5, 7, IMAGE.SerializeToString())], 2, 1, 10, 10, [("SHARDS_MISSING", "one")], MODEL, 9)
    body = splice.body(answer, fields)
    sent = splice.reply(Reply(body, Source.SHARED, Times(total=0.002, encode=0.001)), "r1")
    outcome = search_pb2.SearchBatchResponse.FromString(splice.batch([sent, NotFound("no", field="f")]))
    assert outcome.items[1].error.field == "f"
    return outcome.items[0].response


def test_a_spliced_reply_reads_as_the_public_message() -> None:
    """What is spliced from bytes is read by callers as an ordinary reply."""
    response = spliced(())
    assert response.hits[0].image == IMAGE
    assert (response.coverage.shards_asked, response.coverage.shards_answered) == (2, 1)
    assert (response.cache, response.request_id) == (search_pb2.CACHE_STATE_HIT_SHARED, "r1")
    assert (response.times.total_us, response.times.encode_us, response.generation) == (2000, 1000, 9)
    assert response.degraded[0].reason == "SHARDS_MISSING"


def test_only_the_fields_asked_for_are_returned() -> None:
    """A field mask keeps the id and what it names, down to single attributes."""
    assert spliced(("caption",)).hits[0].image == common_pb2.Image(id="a", caption="A")
    kept = spliced(("attributes.x", "attributes.none")).hits[0].image
    assert kept == common_pb2.Image(id="a", attributes={"x": common_pb2.Value(int_value=1)})
    assert set(spliced(("attributes",)).hits[0].image.attributes) == {"x", "y"}


class Generations:
    """A store in memory, which can be gone."""

    def __init__(self) -> None:
        self.current: dict[str, Pointer] = {}
        self.gone = False

    def collections(self) -> list[str]:
        if self.gone:
            raise Unavailable("the store is gone")
        return list(self.current)

    def pointers(self, collection: str) -> Pointers:
        return Pointers(self.current[collection], None)

    def manifest(self, collection: str, generation: int) -> Manifest:
        if generation > 50:
            raise NotFound("no such generation")
        if generation > 40:
            raise FailedPrecondition("its manifest cannot be read")
        return manifest(generation, collection=collection)


async def test_the_catalog_follows_the_store_and_outlives_it() -> None:
    """The catalog sees a flip, and goes on with what it knows while the store is gone."""
    store = Generations()
    catalog = Catalog(store, interval=LATER)
    await catalog.refresh()
    with pytest.raises(FailedPrecondition, match="published"):
        await catalog.resolve("", 0)
    store.current["pets"] = Pointer(3, 2)
    await catalog.refresh()
    assert (await catalog.resolve("", 0)).generation == 3
    store.gone = True
    await catalog.refresh()
    assert (await catalog.resolve("pets", 0)).generation == 3
    assert (await catalog.resolve("pets", 2)).generation == 2


async def test_before_the_store_was_read_once_nothing_is_said_of_collections() -> None:
    """A gateway that has never been able to read the store is not ready, and what it is asked is UNAVAILABLE: it does
    not claim that a collection does not exist, or that there are none."""
    store = Generations()
    store.current["pets"] = Pointer(3)
    store.gone = True
    catalog = Catalog(store, interval=0.01)
    starting = asyncio.create_task(catalog.start())
    await asyncio.sleep(0.1)
    assert not starting.done()
    for ask in (catalog.current, lambda: catalog.one("pets"), lambda: catalog.one("")):
        with pytest.raises(Unavailable, match="read the store") as refused:
            ask()
        assert refused.value.reason == "STORE_UNREAD"
    store.gone = False
    await asyncio.wait_for(starting, 5)
    assert catalog.one("pets")[1] == Pointer(3)
    await catalog.close()


async def test_a_damaged_collection_holds_up_no_other() -> None:
    """Where one collection cannot be read it stays as it is, and others are followed."""
    store = Generations()
    store.current = {"pets": Pointer(3), "shoes": Pointer(1)}
    catalog = Catalog(store, interval=LATER)
    await catalog.refresh()
    store.current = {"cars": Pointer(41), "pets": Pointer(41, 3), "shoes": Pointer(2, 1)}
    await catalog.refresh()
    assert [(one.collection, one.generation) for one, _ in catalog.current()] == [("pets", 3), ("shoes", 2)]


async def test_the_catalog_asks_the_searchers_before_it_follows() -> None:
    """A generation becomes current here after the searchers were asked what they have, and not on every look."""
    store = Generations()
    store.current["pets"] = Pointer(3)
    seen: list[int] = []

    async def ask() -> None:
        seen.append(catalog.one("pets")[1].generation if seen else 0)

    catalog = Catalog(store, interval=LATER, before_change=ask)
    await catalog.refresh()
    await catalog.refresh()
    store.current["pets"] = Pointer(4, 3)
    await catalog.refresh()
    assert seen == [0, 3]
    assert catalog.one("pets")[1].generation == 4


async def test_the_catalog_refuses_what_it_does_not_know() -> None:
    """An unknown collection or generation is NOT_FOUND; none named among several is an error that lists them."""
    store = Generations()
    store.current = {"pets": Pointer(3), "shoes": Pointer(1)}
    catalog = Catalog(store, interval=LATER)
    await catalog.refresh()
    for collection, generation in (("cars", 0), ("pets", 99)):
        with pytest.raises(NotFound):
            await catalog.resolve(collection, generation)
    with pytest.raises(InvalidArgument, match="pets, shoes"):
        await catalog.resolve("", 0)


def test_the_local_cache_forgets_what_was_used_least_recently() -> None:
    """The local cache holds at most its bytes, and what is used stays."""
    cache = LocalCache(max_bytes=10)
    cache.put(b"1", b"aaaa")
    cache.put(b"2", b"bbbb")
    assert cache.get(b"1") == b"aaaa"
    cache.put(b"3", b"cccc")
    assert (cache.get(b"1"), cache.get(b"2"), cache.get(b"3")) == (b"aaaa", None, b"cccc")
    cache.put(b"3", b"dddddd")
    assert cache.get(b"3") == b"dddddd"
    cache.put(b"4", b"x" * 11)
    assert cache.get(b"4") is None


async def test_single_flight_passes_errors_to_all_and_starts_afresh_after() -> None:
    """An error reaches everyone who waited, and the next one starts new work."""
    flights: SingleFlight[str, int] = SingleFlight()
    runs = 0

    async def work(_: float) -> int:
        nonlocal runs
        runs += 1
        await asyncio.sleep(0)
        raise NotFound("nothing there")

    later = asyncio.get_running_loop().time() + 5
    results = await asyncio.gather(*(flights.run("k", work, later) for _ in range(3)), return_exceptions=True)
    assert all(isinstance(result, SightlineError) for result in results)
    assert runs == 1
    with pytest.raises(NotFound):
        await flights.run("k", work, later)
    assert runs == 2


def test_a_deadline_that_has_passed_is_no_fresh_one() -> None:
    """A call whose deadline has passed gets no time; only one that brings no deadline gets the default."""

    async def seconds(remaining: float | None) -> float:
        return Deadlines(5.0).after(remaining) - asyncio.get_running_loop().time()

    assert asyncio.run(seconds(0.0)) <= 0
    assert asyncio.run(seconds(None)) > 4

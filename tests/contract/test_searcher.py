"""What every searcher does, the real one and the fake one, seen through the wire."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from services.runtime.calls import call
from services.runtime.interceptor import Border
from services.runtime.ranking import merge
from services.runtime.wire import vector_from_bytes, vector_to_bytes
from services.searcher.__main__ import build
from services.searcher.settings import SearcherSettings
from services.store import Store, shard_of
from sightline import attribute
from sightline._filter_messages import to_filter
from sightline.errors import FailedPrecondition, InvalidArgument, NotFound
from sightline.internal.v1 import searcher_pb2, searcher_pb2_grpc
from sightline.v1 import common_pb2
from tests.corpus import Corpus, Vectors, publish, unit_vectors
from tests.fakes_searcher import FakeSearcher

CORPUS, OTHER = Corpus.random(400), Corpus.random(120, seed=7)
DESCRIBED = Corpus.described(300, seed=5)
QUERIES = np.concatenate([unit_vectors(12, seed=3), CORPUS.vectors[198:204]])
KS = [1, 10, 1000, 32, 3, 100]


@dataclass
class Tier:
    """The groups of a tier: a stub to each."""

    stubs: list[Any]

    async def search(self, *items: searcher_pb2.SearchItem, group: int = 0) -> list[searcher_pb2.SearchResult]:
        """Returns the results of one group."""
        reply = await call(self.stubs[group].Search, searcher_pb2.SearchRequest(items=items), None)
        return list(reply.results)

    async def fetch(self, group: int = 0, **wanted: Any) -> list[searcher_pb2.FetchedImage]:
        """Returns stored data of one group."""
        reply = await call(self.stubs[group].Fetch, searcher_pb2.FetchRequest(**wanted), None)
        return list(reply.images)


Published = dict[str, list[tuple[Corpus, int]]]
"""Generations of each collection, the oldest first: what is in them, and their shards."""

Start = Callable[..., Awaitable[Tier]]


@pytest.fixture(params=["real", "fake"])
async def start(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Start]:
    """Starts a tier of so many groups over what is published."""
    async with AsyncExitStack() as stack:

        async def begin(published: Published, groups: int = 1) -> Tier:
            made = _real(published, groups, tmp_path, stack) if request.param == "real" else _fake(published, groups)
            return Tier([await _serve(servicer, stack) for servicer in await made])

        yield begin


async def _fake(published: Published, groups: int) -> list[Any]:
    searchers = [FakeSearcher(group, groups) for group in range(groups)]
    for searcher in searchers:
        for collection, generations in published.items():
            for corpus, shards in generations:
                searcher.publish(collection, corpus, shards=shards)
    return searchers


async def _real(published: Published, groups: int, path: Path, stack: AsyncExitStack) -> list[Any]:
    store = Store(str(path / "store"))
    for collection, generations in published.items():
        for corpus, shards in generations:
            publish(store, collection, corpus, shards=shards)
    servicers = []
    for group in range(groups):
        settings = SearcherSettings(store=store.url, group=group, groups=groups, cache_dir=path / "cache")
        searcher = build(settings)
        stack.push_async_callback(searcher.close)
        await searcher.warm()
        servicers.append(searcher.servicer)
    return servicers


async def _serve(servicer: Any, stack: AsyncExitStack) -> Any:
    server = grpc.aio.server(interceptors=[Border()])
    searcher_pb2_grpc.add_SearcherServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    stack.push_async_callback(server.stop, None)
    channel = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}"))
    return searcher_pb2_grpc.SearcherServiceStub(channel)


def item(vector: Vectors, k: int = 10, **changes: Any) -> searcher_pb2.SearchItem:
    """Returns a query of generation 1 of the collection c."""
    fields: dict[str, Any] = {"collection": "c", "generation": 1, "k": k, "vector": vector_to_bytes(vector)} | changes
    return searcher_pb2.SearchItem(**fields)


def hits(result: searcher_pb2.SearchResult) -> tuple[list[bytes], list[float]]:
    """Returns ids and scores."""
    assert not result.HasField("error"), result.error
    return result.ids.split(b"\0") if result.ids else [], np.frombuffer(result.scores, "<f4").tolist()


@pytest.mark.parametrize("groups", [1, 2, 3])
@pytest.mark.parametrize("shards", [1, 3, 8])
async def test_merged_answers_are_those_of_brute_force(start: Start, shards: int, groups: int) -> None:
    """Over any shards and groups, in one mixed batch, the merged ids are those of brute force, in order."""
    tier = await start({"c": [(CORPUS, shards)]}, groups)
    ks = [KS[place % len(KS)] for place in range(len(QUERIES))]
    batch = [item(query, k) for query, k in zip(QUERIES, ks, strict=True)]
    answers = [await tier.search(*batch, group=group) for group in range(groups)]
    for place, (query, k) in enumerate(zip(QUERIES, ks, strict=True)):
        found = [hits(answer[place]) for answer in answers]
        order = merge([(np.array(scores, np.float32), ids) for ids, scores in found], k)
        best = CORPUS.best(query, k)
        assert [found[which][0][at] for which, at in order] == best[0]
        assert [found[which][1][at] for which, at in order] == pytest.approx(best[1], abs=1e-6)
        assert sum(answer[place].shards for answer in answers) == shards
        assert sum(answer[place].images for answer in answers) == len(CORPUS.ids)


async def test_a_batch_may_mix_generations_and_collections(start: Start) -> None:
    """Each query of a batch is answered from its own collection and generation, never another."""
    tier = await start({"c": [(CORPUS, 2), (OTHER, 3)], "d": [(OTHER, 1)]})
    query = QUERIES[0]
    batch = [item(query, 5), item(query, 7, generation=2), item(query, 9, collection="d"), item(query, 5)]
    found = [hits(result)[0] for result in await tier.search(*batch)]
    assert found == [CORPUS.best(query, 5)[0], OTHER.best(query, 7)[0], OTHER.best(query, 9)[0], found[0]]


async def test_a_bad_query_fails_alone(start: Start) -> None:
    """In one batch, good queries are answered and each bad one has an error of its own, with field and reason."""
    tier = await start({"c": [(CORPUS, 2)]})
    good = item(QUERIES[0], 3)
    bad = [
        (item(QUERIES[0], 0), InvalidArgument.code, "TOP_K_OUT_OF_RANGE", "k"),
        (item(QUERIES[0], 1001), InvalidArgument.code, "TOP_K_OUT_OF_RANGE", "k"),
        (item(QUERIES[0][:31]), InvalidArgument.code, "WRONG_DIMENSION", "vector"),
        (item(QUERIES[0] * np.float32(np.nan)), InvalidArgument.code, "NOT_FINITE", "vector"),
        (item(QUERIES[0], filter=common_pb2.Filter()), InvalidArgument.code, "FILTER_EMPTY", "filter"),
        (
            item(QUERIES[0], filter=to_filter(attribute("colour").exists())),
            InvalidArgument.code,
            "NO_ATTRIBUTE",
            "filter.condition.attribute",
        ),
        (item(QUERIES[0], collection="nowhere"), NotFound.code, "NO_COLLECTION", "collection"),
        (item(QUERIES[0], generation=9), FailedPrecondition.code, "GENERATION_NOT_LOADED", "generation"),
    ]
    first, *errors, last = await tier.search(good, *(query for query, *_ in bad), good)
    assert hits(first)[0] == hits(last)[0] == CORPUS.best(QUERIES[0], 3)[0]
    assert [(one.error.code, one.error.reason, one.error.field) for one in errors] == [tuple(rest) for _, *rest in bad]


@pytest.mark.parametrize("groups", [1, 2])
async def test_a_filter_leaves_only_what_meets_it(start: Start, groups: int) -> None:
    """Merged over groups, the answer to a filtered query is that of brute force over the images that meet the filter,
    and the groups together say how many those are; unfiltered queries of the same batch do not notice."""
    tier = await start({"c": [(DESCRIBED, 3)]}, groups)
    wanted = attribute("group").equals("fruit") & ~attribute("price").between(less_than=9.5)
    batch = [item(query, 7, filter=to_filter(wanted)) for query in QUERIES[:10]] + [item(QUERIES[0], 7)]
    answers = [await tier.search(*batch, group=group) for group in range(groups)]
    for place, query in enumerate([*QUERIES[:10], QUERIES[0]]):
        among = DESCRIBED.meeting(wanted) if place < 10 else DESCRIBED
        found = [hits(answer[place]) for answer in answers]
        order = merge([(np.array(scores, np.float32), ids) for ids, scores in found], 7)
        assert [found[which][0][at] for which, at in order] == among.best(query, 7)[0]
        assert sum(answer[place].matched for answer in answers) == len(among.ids)
        assert sum(answer[place].images for answer in answers) == len(DESCRIBED.ids)


async def test_documents_ride_along_when_asked_for(start: Start) -> None:
    """Each hit's document comes with it, in the order of the hits; without asking none does."""
    tier = await start({"c": [(CORPUS, 3)]})
    asked, plain = await tier.search(item(QUERIES[0], 5, documents=True), item(QUERIES[0], 5))
    assert list(asked.documents) == [CORPUS.document(one.decode()) for one in hits(asked)[0]]
    assert list(plain.documents) == []


async def test_rows_of_hits_can_be_fetched(start: Start) -> None:
    """The rows that a search returns lead to documents, thumbnails and vectors, in any order."""
    tier = await start({"c": [(CORPUS, 3)]})
    (result,) = await tier.search(item(QUERIES[0], 9))
    rows = np.frombuffer(result.rows, "<u8")[::-1]
    images = await tier.fetch(
        collection="c", generation=1, rows=rows.tobytes(), documents=True, thumbnails=True, vectors=True
    )
    ids = [one.decode() for one in hits(result)[0]][::-1]
    assert [image.document for image in images] == [CORPUS.document(identifier) for identifier in ids]
    assert all(image.found and image.thumbnail == b"thumbnail" for image in images)
    scores = [float(vector_from_bytes(image.vector, 32, field="vector") @ QUERIES[0]) for image in images]
    assert scores == pytest.approx(hits(result)[1][::-1], abs=1e-6)


async def test_ids_are_found_in_the_group_that_has_their_shard(start: Start) -> None:
    """By id, each image is found in the one group that serves its shard, and an unknown id in none."""
    tier = await start({"c": [(CORPUS, 4)]}, 2)
    ids = [*CORPUS.ids[:20], "nobody"]
    found = [await tier.fetch(group, collection="c", generation=1, ids=ids, documents=True) for group in range(2)]
    for place, identifier in enumerate(ids[:20]):
        home = shard_of(identifier, 4) % 2
        assert found[home][place].document == CORPUS.document(identifier)
        assert found[1 - home][place] == searcher_pb2.FetchedImage()
    assert not found[0][20].found
    assert not found[1][20].found


async def test_a_row_that_is_not_here_is_not_found(start: Start) -> None:
    """Rows of other shards, and beyond the end, are told apart from those that are here."""
    tier = await start({"c": [(CORPUS, 2)]})
    rows = np.array([0, 9 << 32, 1 << 32 | 399, 1 << 32], "<u8").tobytes()
    images = await tier.fetch(collection="c", generation=1, rows=rows, documents=True)
    assert [image.found for image in images] == [True, False, False, True]


async def test_fetching_from_what_is_not_loaded_is_an_error(start: Start) -> None:
    """An unknown collection and a generation that is not loaded fail the fetch."""
    tier = await start({"c": [(CORPUS, 2)]})
    with pytest.raises(NotFound):
        await tier.fetch(collection="nowhere", generation=1, ids=["a"])
    with pytest.raises(FailedPrecondition) as caught:
        await tier.fetch(collection="c", generation=2, ids=["a"])
    assert caught.value.reason == "GENERATION_NOT_LOADED"


async def test_status_says_who_holds_what(start: Start) -> None:
    """Each group says its number, how many there are, and the generations that can be asked."""
    tier = await start({"c": [(CORPUS, 2), (CORPUS, 2)], "d": [(OTHER, 1)]}, 2)
    for group, stub in enumerate(tier.stubs):
        status = await call(stub.Status, searcher_pb2.StatusRequest(), None)
        assert (status.group, status.groups) == (group, 2)
        assert [(one.collection, list(one.generations)) for one in status.collections] == [("c", [1, 2]), ("d", [1])]


async def test_nothing_published_is_no_failure_but_a_precondition(start: Start) -> None:
    """An empty installation is up, and says to those who ask that nothing has been published."""
    tier = await start({})
    (result,) = await tier.search(item(QUERIES[0]))
    assert (result.error.code, result.error.reason) == (FailedPrecondition.code, "NOTHING_PUBLISHED")

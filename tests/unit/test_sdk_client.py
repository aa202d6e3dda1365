"""The client's own affairs: channels, deadlines, errors, and the synchronous wrapper."""

from __future__ import annotations

import asyncio
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator
from inspect import signature
from typing import Any
from unittest.mock import AsyncMock

import grpc
import pytest

import sightline
from sightline import (
    Client,
    DeadlineExceeded,
    FakeClient,
    Image,
    InternalError,
    InvalidArgument,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    SearchClient,
    SyncClient,
    Unauthenticated,
    Unavailable,
)
from sightline._bags import DIMENSION
from sightline._channel import RETRY_BUDGET, error_of
from tests.sdk_server import Servicer, served

IMAGES = [Image("apple", caption="red apple"), Image("pear", caption="green pear")]


@pytest.fixture
def servicer() -> Servicer:
    return Servicer(FakeClient(IMAGES))


@pytest.fixture
async def address(servicer: Servicer) -> AsyncIterator[str]:
    async with served(servicer) as address:
        yield address


def test_the_public_surface_is_this_list() -> None:
    """What the package offers is a short list; it grows on purpose."""
    assert sorted(sightline.__all__) == sightline.__all__
    assert all(hasattr(sightline, name) for name in sightline.__all__)
    assert set(sightline.__all__) == {
        *("Client", "SyncClient", "FakeClient", "SearchClient", "SearchStream", "Tls"),
        *("text", "image", "vector", "attribute", "ImageId", "Weighted", "SearchRequest", "Filter"),
        *("SearchResult", "Answer", "Hit", "Image", "StoredImage", "Collection", "Coverage", "Degradation"),
        *("Model", "StageTimes", "CacheState"),
        *("SightlineError", "InvalidArgument", "NotFound", "FailedPrecondition", "ResourceExhausted"),
        *("DeadlineExceeded", "Unavailable", "Unimplemented", "InternalError", "Unauthenticated", "PermissionDenied"),
    }


async def test_a_call_that_takes_too_long_is_given_up(servicer: Servicer, address: str) -> None:
    """The deadline is the call's own, or else the client's."""
    servicer.silent = True
    async with Client(address, timeout=0.2) as client:
        with pytest.raises(DeadlineExceeded, match=address):
            await client.search("apple")
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(client.search("apple", timeout=0.1), 5)


async def test_nobody_there_is_unavailable() -> None:
    """Where nothing listens, the error names the address."""
    async with Client("127.0.0.1:1") as client:
        with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1 does not answer"):
            await client.search("apple")


async def test_an_address_without_a_port_is_refused() -> None:
    """An address is host:port; anything else is said to be wrong at the first call."""
    with pytest.raises(InvalidArgument, match="host:port"):
        await Client("localhost").search("apple")


async def test_names_are_resolved(address: str) -> None:
    """A DNS name serves as well as a number, and so does a full gRPC target."""
    port = address.rpartition(":")[2]
    for target in (f"localhost:{port}", f"dns:///localhost:{port}", f"ipv4:127.0.0.1:{port}"):
        async with Client(target) as client:
            assert (await client.search("apple"))[0].id == "apple"


async def test_metadata_goes_with_every_call(servicer: Servicer, address: str) -> None:
    """Whatever the client was given, such as a token, and the call's request id reach the server."""
    async with Client(address, metadata={"authorization": "Bearer abc"}) as client:
        await client.search("apple", request_id="r-1")
    assert servicer.metadata[0]["authorization"] == "Bearer abc"
    assert servicer.metadata[0]["x-request-id"] == "r-1"


async def test_a_closed_client_says_so(address: str) -> None:
    """Calls after closing are Unavailable, not an error of gRPC's."""
    client = Client(address)
    await client.search("apple")
    await client.close()
    with pytest.raises(Unavailable, match="closed"):
        await client.search("apple")


async def test_closing_a_client_that_was_never_used_opens_nothing() -> None:
    """A client that was made and closed has not connected."""
    client = Client("127.0.0.1:1")
    await client.close()
    assert client._opened is None


async def test_what_the_wire_cannot_carry_is_refused(address: str) -> None:
    """Numbers below zero and broken text are errors with a field, as every other bad value is."""
    async with Client(address) as client:
        with pytest.raises(InvalidArgument) as caught:
            await client.search("apple", top_k=-1)
        assert caught.value.field == "top_k"
        with pytest.raises(InvalidArgument):
            await client.search("apple", generation=-1)
        with pytest.raises(InvalidArgument, match="UTF-8"):
            await client.search("apple \udcff")


@pytest.mark.parametrize(
    ("status", "error", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, Unavailable, "UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, Unavailable, "CALL_ENDED"),
        (grpc.StatusCode.UNKNOWN, InternalError, "UNKNOWN"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, DeadlineExceeded, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.PERMISSION_DENIED, PermissionDenied, "PERMISSION_DENIED"),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated, "UNAUTHENTICATED"),
        (grpc.StatusCode.DATA_LOSS, InternalError, "DATA_LOSS"),
        (grpc.StatusCode.NOT_FOUND, NotFound, "NOT_FOUND"),
    ],
)
def test_statuses_without_details_are_errors_too(
    status: grpc.StatusCode, error: type[sightline.SightlineError], reason: str
) -> None:
    """What proxies and other servers answer becomes an error of the tree, with the status as its reason."""
    call = grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), details="why")
    made = error_of(call, "host:1")
    assert (type(made), made.reason) == (error, reason)


@pytest.mark.parametrize("status", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED])
async def test_a_call_that_met_a_stopping_server_is_made_again(
    servicer: Servicer, monkeypatch: pytest.MonkeyPatch, status: grpc.StatusCode
) -> None:
    """What a server turns away because it stops, the client asks again, without its caller's doing."""
    answer, turned_away = servicer.Search, 0

    async def stopping(request: Any, context: Any) -> Any:
        nonlocal turned_away
        if not turned_away:
            turned_away += 1
            await context.abort(status, "stopping")
        return await answer(request, context)

    monkeypatch.setattr(Servicer, "Search", lambda _, request, context: stopping(request, context))
    async with served(servicer) as address, Client(address) as client:
        assert (await client.search("apple"))[0].id == "apple"
    assert turned_away == 1


@pytest.mark.parametrize("error", [Unavailable, ResourceExhausted, InternalError, DeadlineExceeded, InvalidArgument])
async def test_only_what_is_unavailable_is_asked_again(
    servicer: Servicer, address: str, error: type[sightline.SightlineError]
) -> None:
    """An unavailable service is asked three times; every other error is its caller's at once."""
    servicer.fake.fail(error("no"))
    async with Client(address) as client:
        with pytest.raises(error):
            await client.search("apple")
    assert len(servicer.metadata) == (3 if error is Unavailable else 1)


async def test_retries_have_a_budget(servicer: Servicer, address: str) -> None:
    """Of a service that is down, all calls together ask no more than the budget again; it is earned back by answers."""
    servicer.fake.fail(Unavailable("down"))
    async with Client(address) as client:
        for _ in range(20):
            await asyncio.gather(*(client.search("apple") for _ in range(20)), return_exceptions=True)
        asked = len(servicer.metadata)
        assert 400 < asked <= 400 + RETRY_BUDGET
        servicer.fake.recover()
        for _ in range(100):
            await asyncio.gather(*(client.search("apple") for _ in range(10)))
        servicer.fake.fail(Unavailable("down"), times=1)
        assert len(await client.search("apple")) == 2


async def test_many_pictures_go_in_several_calls(address: str) -> None:
    """Pictures that would be too much for one message are spread over several."""
    pictures = [bytes([number]) * 9_000_000 for number in range(8)]  # 72 MB, and a message has 64
    async with Client(address, timeout=60) as client:
        assert (await client.embed(images=pictures)).shape == (8, DIMENSION)


def test_details_that_make_no_sense_are_passed_over() -> None:
    """A status with foreign details is read by its code."""
    trailing = grpc.aio.Metadata(("grpc-status-details-bin", b"\xff\xff\xff"))
    call = grpc.aio.AioRpcError(grpc.StatusCode.NOT_FOUND, grpc.aio.Metadata(), trailing, details="why")
    assert isinstance(error_of(call, "host:1"), NotFound)


async def test_code_that_is_not_asynchronous_has_the_same_client(address: str) -> None:
    """SyncClient asks a server, or wraps any other client, without a loop of the caller's."""

    def use(client: SyncClient) -> None:
        with client:
            assert client.search("apple", top_k=1)[0].id == "apple"
            assert len(client.search_batch(["apple", "pear"])) == 2
            answers = list(client.search_stream(["apple", "pear"]))
            assert sorted(answer.index for answer in answers) == [0, 1]
            assert client.get("pear").image == IMAGES[1]
            assert len(client.get_many(["pear", "nobody"])) == 2
            assert client.collection() == client.collections()[0]
            assert client.embed(["apple"]).shape == (1, DIMENSION)
            assert client.serving()
            with pytest.raises(NotFound):
                client.get("nobody")
        client.close()

    await asyncio.to_thread(use, SyncClient(address))
    await asyncio.to_thread(use, SyncClient(FakeClient(IMAGES)))


@pytest.mark.parametrize(
    "method",
    [
        "with_thumbnails",
        "search_batch",
        "search_stream",
        "get",
        "get_many",
        "collections",
        "collection",
        "embed",
        "serving",
    ],
)
def test_the_synchronous_methods_take_the_same(method: str) -> None:
    """Each method of SyncClient has the parameters of its namesake, with the same defaults."""

    def taken(kind: type) -> list[tuple[str, object, object]]:
        return [(one.name, one.kind, one.default) for one in signature(getattr(kind, method)).parameters.values()]

    assert taken(SyncClient) == taken(SearchClient)


@pytest.mark.parametrize(
    ("method", "given", "options"),
    [
        ("search_batch", (["apple"],), {"timeout": 2.0, "request_id": "r"}),
        ("get", ("pear",), {"collection": "c", "thumbnail": True, "fields": ["id"], "generation": 2, "timeout": 2.0}),
        ("get_many", ([],), {"collection": "c", "thumbnails": True, "fields": ["id"], "generation": 2, "timeout": 2.0}),
        ("collections", (), {"timeout": 2.0}),
        ("collection", ("c",), {"timeout": 2.0}),
        ("embed", (["words"], [b"picture"]), {"timeout": 2.0}),
        ("serving", (), {"timeout": 2.0}),
    ],
)
def test_what_the_synchronous_methods_take_is_passed_on(
    method: str, given: tuple[object, ...], options: dict[str, object]
) -> None:
    """Whatever SyncClient is told, the client that it wraps is told."""
    client = AsyncMock(spec=SearchClient)
    with SyncClient(client) as wrapping:
        assert getattr(wrapping, method)(*given, **options) is getattr(client, method).return_value
    getattr(client, method).assert_awaited_once_with(*given, **options)


async def test_a_stream_that_is_left_early_is_closed(address: str) -> None:
    """Whoever stops iterating leaves nothing running behind."""

    def use() -> None:
        with SyncClient(address) as client:
            assert next(client.search_stream("apple" for _ in range(1000))).result[0].id == "apple"

    await asyncio.to_thread(use)


def test_results_are_plain_values() -> None:
    """Answers can be compared, pickled and iterated; an answer without hits is still true."""
    with SyncClient(FakeClient(IMAGES)) as client:
        result = client.search("apple")
        assert pickle.loads(pickle.dumps(result)) == result
        assert [hit.id for hit in result] == ["apple", "pear"]
        nothing = client.search("zebra", min_score=0.5)
    assert nothing
    assert len(nothing) == 0
    assert repr(nothing) == "<SearchResult: 0 hits; 4 of 4 shards, generation 1, miss, 0.0 ms>"
    assert "best 'apple' at 0.707" in repr(result)


def test_the_sdk_needs_little() -> None:
    """Without what the extras bring, and without the services, the package imports and answers."""
    foreign = ["typer", "rich", "PIL", "textual_image", "services", "torch", "faiss", "redis", "pydantic"]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({foreign}))\n"
        "from sightline import FakeClient, Image, SyncClient\n"
        "print(SyncClient(FakeClient([Image('1', caption='cat')])).search('cat')[0].id)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout == "1\n"

"""services/runtime: ranking, wire, settings, health, and the border of every server."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import urllib.error
import urllib.request
from collections.abc import AsyncIterator

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from services.gateway.settings import GatewaySettings
from services.runtime.calls import from_rpc_error
from services.runtime.health import Health, start_health_port
from services.runtime.interceptor import Border
from services.runtime.logs import JsonLines, request_id
from services.runtime.ranking import merge
from services.runtime.server import serve
from services.runtime.settings import Settings, addresses, load
from services.runtime.wire import error_from_message, error_to_message, vector_from_bytes, vector_to_bytes
from sightline.errors import InvalidArgument, NotFound, SightlineError, Unavailable
from sightline.v1 import collection_pb2, collection_pb2_grpc

LOOPBACK = "127.0.0.1:0"


def scored(*scores: float) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return np.array(scores, dtype=np.float32)


def test_merging_takes_the_best_of_all_lists() -> None:
    """The best k of several lists come best first."""
    lists = [(scored(0.9, 0.1), [b"a", b"b"]), (scored(0.5, 0.95), [b"c", b"d"]), (scored(), [])]
    assert merge(lists, 3) == [(1, 1), (0, 0), (1, 0)]
    assert merge(lists, 99) == [(1, 1), (0, 0), (1, 0), (0, 1)]


def test_float_noise_does_not_decide_a_rank() -> None:
    """Scores that agree to 1e-6 are ordered by id, whichever is a trifle larger."""
    assert merge([(scored(0.5), [b"b"]), (scored(0.50000006), [b"c"]), (scored(0.49999997), [b"a"])], 3) == [
        (2, 0),
        (0, 0),
        (1, 0),
    ]


def test_vectors_survive_the_wire() -> None:
    """A vector arrives as it was sent, little-endian float32 whatever it was."""
    assert vector_to_bytes(np.array([1, -2], dtype=">f8")).hex() == "0000803f000000c0"
    np.testing.assert_array_equal(vector_from_bytes(vector_to_bytes(scored(0.25, -7)), 2, field="v"), [0.25, -7])


@pytest.mark.parametrize("values", [(1.0,), (1.0, np.nan), (1.0, 2.0, 3.0)])
def test_a_vector_that_is_none_names_its_field(values: tuple[float, ...]) -> None:
    """A vector of another length, or with values that are not finite, is refused by its field."""
    with pytest.raises(InvalidArgument) as caught:
        vector_from_bytes(vector_to_bytes(scored(*values)), 2, field="query.vector")
    assert caught.value.field == "query.vector"


def test_errors_survive_the_wire() -> None:
    """An error of the tree comes back as itself; any other tells nothing of its inside."""
    back = error_from_message(error_to_message(NotFound("no such image", reason="NO_IMAGE", field="id")))
    assert (type(back), back.message, back.reason, back.field) == (NotFound, "no such image", "NO_IMAGE", "id")
    assert "secret" not in error_to_message(ValueError("secret")).message


def test_one_report_names_every_bad_setting(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where settings are wrong the process ends with 2 and names them all."""
    monkeypatch.setenv("SIGHTLINE_DRAIN_SECONDS", "soon")
    monkeypatch.setenv("SIGHTLINE_GRACE_SECONDS", "-1")
    with pytest.raises(SystemExit) as ended:
        load(Settings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "SIGHTLINE_DRAIN_SECONDS" in said
    assert "SIGHTLINE_GRACE_SECONDS" in said


def test_a_report_of_settings_shows_no_secret(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report of bad settings never shows a secret, be it wrong itself or beside one that is missing."""
    monkeypatch.setenv("SIGHTLINE_REDIS_URL", "redis://:hunter2@host:6379")
    with pytest.raises(SystemExit):
        load(GatewaySettings)
    said = capsys.readouterr().err
    assert "SIGHTLINE_STORE" in said
    assert "hunter2" not in said


def test_address_lists_forgive_spaces() -> None:
    """Addresses are listed with commas, and spaces do not matter."""
    assert addresses(" a:1, b:2 ,,") == ("a:1", "b:2")


def test_logs_are_json_with_the_request_id() -> None:
    """A log line is one JSON object and says which request it is about."""
    token = request_id.set("r1")
    record = logging.LogRecord("sightline.x", logging.INFO, __file__, 1, "found %d “ü”", (3,), None)
    line = json.loads(JsonLines().format(record))
    request_id.reset(token)
    assert (line["message"], line["request_id"], line["level"]) == ("found 3 “ü”", "r1", "INFO")


def fetch(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""


def test_the_health_port_tells_life_from_readiness() -> None:
    """A process that beats lives, is ready only when it says so, and counts on /metrics."""
    health = Health(stale_after=1000)
    port = start_health_port(LOOPBACK, health)
    assert [fetch(port, path)[0] for path in ("/healthz", "/readyz", "/nothing")] == [200, 503, 404]
    health.ready = True
    assert fetch(port, "/readyz")[0] == 200
    assert "sightline_rpc_seconds" in fetch(port, "/metrics")[1]


def test_a_process_whose_loop_stopped_is_not_alive() -> None:
    """A process whose event loop does not beat any more is not alive."""
    assert not Health(stale_after=0).alive


class Collections(collection_pb2_grpc.CollectionServiceServicer):
    """Get fails as it is told by the collection's name; List waits until it is let go."""

    def __init__(self) -> None:
        self.let_go = asyncio.Event()

    async def List(
        self, request: collection_pb2.ListCollectionsRequest, context: grpc.aio.ServicerContext[object, object]
    ) -> collection_pb2.ListCollectionsResponse:
        await self.let_go.wait()
        return collection_pb2.ListCollectionsResponse()

    async def Get(
        self,
        request: collection_pb2.GetCollectionRequest,
        context: grpc.aio.ServicerContext[object, object],
    ) -> collection_pb2.GetCollectionResponse:
        if request.collection == "missing":
            raise NotFound("there is no such collection", reason="NO_COLLECTION", field="collection")
        if request.collection == "bug":
            raise ZeroDivisionError("secret")
        return collection_pb2.GetCollectionResponse(collection=collection_pb2.Collection(name=request_id.get()))


@pytest.fixture
async def stub() -> AsyncIterator[collection_pb2_grpc.CollectionServiceAsyncStub]:
    server = grpc.aio.server(interceptors=[Border()])
    collection_pb2_grpc.add_CollectionServiceServicer_to_server(Collections(), server)
    port = server.add_insecure_port(LOOPBACK)
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield collection_pb2_grpc.CollectionServiceStub(channel)
    await server.stop(0)


async def failure(stub: collection_pb2_grpc.CollectionServiceAsyncStub, collection: str) -> SightlineError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Get(collection_pb2.GetCollectionRequest(collection=collection))
    return from_rpc_error(caught.value)


async def test_errors_cross_the_border_whole(stub: collection_pb2_grpc.CollectionServiceAsyncStub) -> None:
    """An error raised in a servicer reaches the caller with its reason and field, a second time too."""
    for _ in range(2):
        error = await failure(stub, "missing")
        assert (type(error), error.reason, error.field) == (NotFound, "NO_COLLECTION", "collection")


@pytest.mark.parametrize("status", [grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL])
def test_a_call_that_breaks_off_is_unavailable(status: grpc.StatusCode) -> None:
    """A status that no server of ours has put an error into is gRPC's own, of a call whose server stopped or whose
    connection broke: somebody else may answer."""
    error = from_rpc_error(grpc.aio.AioRpcError(status, grpc.aio.Metadata(), grpc.aio.Metadata(), "Stream removed"))
    assert (type(error), error.reason) == (Unavailable, "CALL_BROKEN")
    assert "Stream removed" in error.message


async def test_faults_of_ours_keep_their_secrets(stub: collection_pb2_grpc.CollectionServiceAsyncStub) -> None:
    """What is not of the tree is INTERNAL, without its text."""
    error = await failure(stub, "bug")
    assert error.reason == "INTERNAL"
    assert "secret" not in str(error)


async def test_bytes_that_are_no_message_are_refused(
    stub: collection_pb2_grpc.CollectionServiceAsyncStub, caplog: pytest.LogCaptureFixture
) -> None:
    """Malformed bytes are their sender's fault, with a reason; the log of the server tells of no fault of its own."""
    call = stub.Get
    call._request_serializer = bytes  # type: ignore[attr-defined]
    for data in (b"\x0a\xff", b"\x0a\x01\xff"):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(data)  # type: ignore[arg-type]
        error = from_rpc_error(caught.value)
        assert (type(error), error.reason) == (InvalidArgument, "MALFORMED_MESSAGE")
    assert caplog.records == []


async def test_a_call_that_its_deadline_cuts_off_counts_as_late(
    stub: collection_pb2_grpc.CollectionServiceAsyncStub,
) -> None:
    """gRPC cancels a call whose deadline has passed; metrics tell it from one whose caller hung up."""
    labels = {"method": "/sightline.v1.CollectionService/List", "code": "DEADLINE_EXCEEDED"}
    before = REGISTRY.get_sample_value("sightline_rpc_calls_total", labels) or 0.0
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.List(collection_pb2.ListCollectionsRequest(), timeout=0.1)
    async with asyncio.timeout(5):
        while REGISTRY.get_sample_value("sightline_rpc_calls_total", labels) != before + 1:
            await asyncio.sleep(0.01)


async def test_calls_have_ids(stub: collection_pb2_grpc.CollectionServiceAsyncStub) -> None:
    """A call has the id that its caller gave, or one of its own."""
    request = collection_pb2.GetCollectionRequest()
    given = await stub.Get(request, metadata=(("x-request-id", "mine"),))
    first, second = await stub.Get(request), await stub.Get(request)
    assert given.collection.name == "mine"
    assert len({first.collection.name, second.collection.name, ""}) == 3


async def test_a_server_drains_when_it_is_told_to_stop(unused_tcp_port_factory: object) -> None:
    """On SIGTERM a server leaves the health checks, goes on serving, finishes what is in flight, and ends."""
    port = unused_tcp_port_factory()  # type: ignore[operator]
    settings = Settings(listen=f"127.0.0.1:{port}", health_listen=LOOPBACK, drain_seconds=0.3, grace_seconds=5)
    slow, closed = Collections(), asyncio.Event()

    async def nothing() -> None:
        return None

    async def close() -> None:
        closed.set()

    serving = asyncio.create_task(
        serve(
            settings,
            service_names=["sightline.v1.CollectionService"],
            register=lambda server: collection_pb2_grpc.add_CollectionServiceServicer_to_server(slow, server),
            warm=nothing,
            close=close,
        )
    )
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = collection_pb2_grpc.CollectionServiceStub(channel)
        health = health_pb2_grpc.HealthStub(channel)
        await stub.Get(collection_pb2.GetCollectionRequest(), wait_for_ready=True)
        in_flight = asyncio.ensure_future(stub.List(collection_pb2.ListCollectionsRequest()))
        await asyncio.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.1)
        state = await health.Check(health_pb2.HealthCheckRequest())
        assert state.status == health_pb2.HealthCheckResponse.NOT_SERVING
        await stub.Get(collection_pb2.GetCollectionRequest())
        await asyncio.sleep(0.4)
        slow.let_go.set()
        assert await in_flight == collection_pb2.ListCollectionsResponse()
    await asyncio.wait_for(serving, 5)
    assert closed.is_set()

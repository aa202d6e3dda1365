"""Who may call: keys in a file that changes, at the gate of a server."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import REGISTRY

from services.runtime.keys import MAX_KEYS, Keys
from services.runtime.logs import JsonLines
from sightline import Client, FakeClient, Image, InvalidArgument, PermissionDenied, SyncClient, Unauthenticated
from sightline.errors import SightlineError
from tests.sdk_server import Servicer, served

SERVICES = ("search", "image", "collection", "embed")


def line(name: str, key: str, services: str = "") -> str:
    return f"{name} {hashlib.sha256(key.encode()).hexdigest()} {services}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "keys"
    written.write_text("# who may call\n" + line("web", "secret-1") + line("reader", "secret-2", "collection, image"))
    return written


@pytest.fixture
def servicer() -> Servicer:
    return Servicer(FakeClient([Image("apple", caption="red apple")]))


@pytest.fixture
async def address(file: Path, servicer: Servicer) -> AsyncIterator[str]:
    async with served(servicer, keys=Keys(file, SERVICES, every=0)) as address:
        yield address


def rewrite(file: Path, content: str | None) -> None:
    file.unlink() if content is None else file.write_text(content)


async def refusal(client: Client) -> SightlineError:
    with pytest.raises(SightlineError) as caught:
        await client.search("apple")
    return caught.value


@pytest.mark.parametrize(
    ("key", "error", "reason"),
    [
        ("", Unauthenticated, "NO_KEY"),
        ("guessed", Unauthenticated, "UNKNOWN_KEY"),
        ("secret-2", PermissionDenied, "KEY_NOT_ALLOWED"),
    ],
)
async def test_who_may_not_call_is_told_why(address: str, key: str, error: type[SightlineError], reason: str) -> None:
    """Without a key, with an unknown one, and with one that is for other services, a call and a stream are refused with
    a reason."""
    async with Client(address, key=key) as client, client.stream() as stream:
        refused = await refusal(client)
        assert (type(refused), refused.reason) == (error, reason)
        with pytest.raises(error) as caught:
            await stream.search("apple")
        assert caught.value.reason == reason


async def test_a_known_key_opens_what_it_is_for(address: str) -> None:
    """A key opens all services, or those that its line names, for calls and for streams."""
    async with Client(address, key="secret-1") as client, client.stream() as stream:
        assert (await client.search("apple"))[0].id == "apple"
        assert (await stream.search("apple"))[0].id == "apple"
    async with Client(address, key="secret-2") as client:
        assert (await client.get("apple")).image.caption == "red apple"
        assert len(await client.collections()) == 1


async def test_health_needs_no_key(address: str) -> None:
    """Probes and load balancers ask for health without a key."""
    async with Client(address) as client:
        assert await client.serving()
    async with grpc.aio.insecure_channel(address) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()


async def test_keys_change_without_a_restart(address: str, file: Path) -> None:
    """A new key is known, and a withdrawn one refused, as soon as the file says so."""
    async with Client(address, key="secret-1") as old, Client(address, key="secret-3") as new:
        assert (await refusal(new)).reason == "UNKNOWN_KEY"
        rewrite(file, line("web", "secret-3"))
        assert len(await new.search("apple")) == 1
        assert (await refusal(old)).reason == "UNKNOWN_KEY"


async def test_a_stream_ends_when_its_key_is_withdrawn(address: str, file: Path) -> None:
    """An open stream takes no question any more once its key is withdrawn."""
    async with Client(address, key="secret-1") as client, client.stream() as stream:
        assert len(await stream.search("apple")) == 1
        rewrite(file, line("other", "secret-3"))
        with pytest.raises(Unauthenticated) as caught:
            await stream.search("apple")
        assert caught.value.reason in ("KEY_WITHDRAWN", "UNKNOWN_KEY")


async def test_a_broken_file_of_keys_changes_nothing(
    address: str, file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A file that is cut, empty or gone leaves the keys in force that were, and the log says so once, without a key."""
    async with Client(address, key="secret-1") as client:
        for broken in (line("web", "secret-9")[:30], "# nobody\n", None):
            caplog.clear()
            rewrite(file, broken)
            for _ in range(3):
                assert len(await client.search("apple")) == 1
            told = [record for record in caplog.records if record.levelno == logging.ERROR]
            assert len(told) == 1
            assert "the old stays in force" in told[0].getMessage()
            assert hashlib.sha256(b"secret-9").hexdigest()[:20] not in told[0].getMessage()


async def test_callers_have_names_in_metrics_and_logs(address: str) -> None:
    """Calls are counted by the name of their caller and how they ended, and log lines bear the name."""
    labels = {"caller": "web", "code": "OK"}
    before = REGISTRY.get_sample_value("sightline_caller_calls_total", labels) or 0
    async with Client(address, key="secret-1") as client:
        await client.search("apple")
        with pytest.raises(InvalidArgument):
            await client.search("apple", top_k=0)
    assert REGISTRY.get_sample_value("sightline_caller_calls_total", labels) == before + 1
    labels["code"] = "INVALID_ARGUMENT"
    assert REGISTRY.get_sample_value("sightline_caller_calls_total", labels)


async def test_log_lines_of_a_call_name_its_caller(
    address: str, servicer: Servicer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is logged while a call is served says whose it is, and never with which key."""
    lines: list[str] = []
    monkeypatch.setattr(logging.getLogger("sightline"), "handlers", [_Lines(lines)])
    servicer.fake.fail(RuntimeError("broken"))  # type: ignore[arg-type]
    async with Client(address, key="secret-1") as client:
        assert (await refusal(client)).reason == "INTERNAL"
    assert [json.loads(one).get("caller") for one in lines] == ["web"]
    assert "secret-1" not in "".join(lines)


class _Lines(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(JsonLines().format(record))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "1 to 256"),
        ("web\n", "line 1: after the name"),
        ("web deadbeef\n", "64 hexadecimal digits"),
        ("# first\n" + "ü " + "0" * 64, "line 2: a name"),
        (
            "web " + "0" * 64 + " search, everything",
            "no service everything; there are collection, embed, image, search",
        ),
        ("web " + "0" * 64 + "\napi " + "0" * 64, "twice"),
        ("".join(line(f"n{n}", f"k{n}") for n in range(MAX_KEYS + 1)), "got 257"),
    ],
)
def test_a_wrong_file_of_keys_is_refused_at_first(tmp_path: Path, content: str, says: str) -> None:
    """What is wrong with a file is said by its line, and never shows what stands there."""
    (tmp_path / "keys").write_text(content)
    with pytest.raises(ValueError, match=says) as caught:
        Keys(tmp_path / "keys", SERVICES)
    assert "deadbeef" not in str(caught.value)


def test_comparing_keys_is_cheap_and_takes_all_of_them(tmp_path: Path) -> None:
    """The first of as many keys as a file may have takes no less work than the last: all are compared, within a
    fraction of what a call costs."""
    (tmp_path / "keys").write_text("".join(line(f"n{n}", f"k{n}") for n in range(MAX_KEYS)))
    keys = Keys(tmp_path / "keys", SERVICES)
    assert {keys.caller(f"Bearer k{n}", "search").name for n in (0, 100, 255)} == {"n0", "n100", "n255"}
    began = time.process_time()
    for _ in range(200):
        keys.caller("bearer k0", "search")
    assert (time.process_time() - began) / 200 < 0.002


async def test_a_key_is_never_shown() -> None:
    """A client does not show its key, nor does the error for one that no call could carry."""
    assert "secret-1" not in repr(Client("localhost:7700", key="secret-1"))
    with pytest.raises(InvalidArgument) as caught:
        Client("localhost:7700", key="se cret")
    assert "cret" not in str(caught.value)
    with pytest.raises(TypeError):
        SyncClient(FakeClient(), key="secret-1")

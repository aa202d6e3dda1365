"""services/encoder/__main__.py: an encoder put together over a model that computes nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from services.encoder.__main__ import Encoder
from services.encoder.settings import EncoderSettings
from services.encoder.sources import LoadError
from services.runtime.interceptor import Border
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from tests.fakes_encoder import FakeModel

CHECKOUT = Path(__file__).resolve().parents[2]
# As `python -m services.encoder` runs, with a place to put another loader.
PROGRAM = """
import asyncio
import services.encoder.__main__ as main
from services.encoder.sources import LoadError

def refuse(settings):
    raise LoadError("there is none")

def run():
    asyncio.run(main.main())

"""


async def test_ready_when_warm() -> None:
    """While it loads its model an encoder says so, and once it has started its model is warm."""
    model = FakeModel()
    encoder = Encoder(EncoderSettings(model="fake"), lambda _: model)
    server = grpc.aio.server(interceptors=[Border()])
    encoder.register(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = encoder_pb2_grpc.EncoderServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError, match="loading its model") as caught:
            await stub.Describe(encoder_pb2.DescribeRequest(), timeout=30)
        assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
        await encoder.start()
        assert len(model.batches) > 10
        reply = await stub.Encode(encoder_pb2.EncodeRequest(items=[encoder_pb2.EncodeItem(text="dog")]), timeout=30)
        assert not reply.errors
    await server.stop(5)
    await encoder.close()


async def test_settings_are_limits() -> None:
    """Sizes that are not set suit the device; those that are set hold."""
    model = FakeModel()
    encoder = Encoder(EncoderSettings(model="fake", max_image_batch=3), lambda _: model)
    await encoder.start()
    await encoder.close()
    assert 3 in model.batches


async def test_no_model() -> None:
    """An encoder whose model cannot be loaded does not start."""

    def load(_: EncoderSettings) -> FakeModel:
        raise LoadError("there is no folder or configuration gone")

    with pytest.raises(LoadError, match="gone"):
        await Encoder(EncoderSettings(model="gone"), load).start()


@pytest.mark.parametrize(
    ("program", "settings", "says"),
    [
        ("run()", {"DEVICE": "tpu", "THREADS": "-1"}, ["SIGHTLINE_MODEL", "SIGHTLINE_DEVICE", "SIGHTLINE_THREADS"]),
        ("main.load_model = refuse; run()", {"MODEL": "gone"}, ["SIGHTLINE_MODEL: there is none"]),
    ],
)
def test_wrong_settings(program: str, settings: dict[str, str], says: list[str]) -> None:
    """A process with wrong settings, or without its model, says so without a traceback and exits with 2."""
    told = {"LISTEN": "127.0.0.1:0", "HEALTH_LISTEN": "127.0.0.1:0", "GRACE_SECONDS": "0", **settings}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM + program],
        env=os.environ | {f"SIGHTLINE_{name}": value for name, value in told.items()},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert [one for one in says if one not in ended.stderr] == []
    assert "Traceback" not in ended.stderr

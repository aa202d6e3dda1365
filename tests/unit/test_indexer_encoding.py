"""The encoder as a build sees it: over real gRPC, with an encoder that misbehaves on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import numpy as np
import pytest

from services.indexer.encoding import Encoders
from services.runtime.interceptor import Border
from services.runtime.wire import error_to_message
from sightline.errors import FailedPrecondition, InvalidArgument, ResourceExhausted, SightlineError, Unavailable
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from sightline.v1 import common_pb2


class FakeEncoder(encoder_pb2_grpc.EncoderServiceServicer):
    """Answers each picture with [its first byte, its number of bytes]; fails as told."""

    def __init__(self, digest: str = "d1", *failures: SightlineError) -> None:
        self.digest, self.failures, self.calls = digest, list(failures), 0
        self.item_error: SightlineError | None = None

    async def Describe(self, request: Any, context: Any) -> encoder_pb2.DescribeResponse:
        return encoder_pb2.DescribeResponse(
            model=self._model(), image_height=2, image_width=3, resize_mode="squash", interpolation="bilinear",
            fill=7, scope="emoji", scope_note="For emoji.",
        )  # fmt: skip

    async def Encode(self, request: Any, context: Any) -> encoder_pb2.EncodeResponse:
        self.calls += 1
        if self.failures:
            raise self.failures.pop(0)
        vectors = np.array([[item.pixels[0], len(item.pixels)] for item in request.items], dtype="<f4")
        response = encoder_pb2.EncodeResponse(vectors=vectors.tobytes(), model=self._model())
        if self.item_error is not None:
            response.errors.add(index=1, error=error_to_message(self.item_error))
            self.item_error = None
        return response

    def _model(self) -> common_pb2.Model:
        return common_pb2.Model(name="fake", digest=self.digest, dimension=2)


@asynccontextmanager
async def connected(*fakes: FakeEncoder, patience: float = 20.0) -> AsyncIterator[Encoders]:
    servers, targets = [], []
    for fake in fakes:
        server = grpc.aio.server(interceptors=[Border()])
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server(fake, server)
        targets.append(f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}")
        await server.start()
        servers.append(server)
    try:
        async with Encoders(targets, patience=patience) as encoders:
            yield encoders
    finally:
        await asyncio.gather(*(server.stop(None) for server in servers))


def pictures(*values: int) -> list[Any]:
    return [np.full((2, 3, 3), value, dtype=np.uint8) for value in values]


async def test_the_model_says_how_pictures_are_prepared() -> None:
    """What the encoder describes arrives whole: model, preparation, scope and its note."""
    async with connected(FakeEncoder()) as encoders:
        model = await encoders.describe()
    assert (model.name, model.digest, model.dimension) == ("fake", "d1", 2)
    assert (model.scope, model.scope_note) == ("emoji", "For emoji.")
    prepared = model.preparation
    assert (prepared.height, prepared.width, prepared.fill) == (2, 3, 7)
    assert (prepared.resize_mode, prepared.interpolation) == ("squash", "bilinear")


async def test_pictures_become_vectors_in_order() -> None:
    """Each picture has its vector, in the order given."""
    async with connected(FakeEncoder()) as encoders:
        await encoders.describe()
        vectors = await encoders.encode(pictures(5, 6))
    assert np.array(vectors).tolist() == [[5, 18], [6, 18]]


async def test_a_full_queue_is_waited_for() -> None:
    """An encoder that is busy is asked again after a pause."""
    fake = FakeEncoder("d1", ResourceExhausted("full"), ResourceExhausted("full"))
    async with connected(fake) as encoders:
        assert len(await encoders.encode(pictures(1))) == 1
    assert fake.calls == 3


async def test_another_encoder_takes_over() -> None:
    """Where one encoder fails, the other answers without a pause that the caller would notice."""
    failing = FakeEncoder("d1", *(Unavailable("going down") for _ in range(50)))
    async with connected(failing, FakeEncoder()) as encoders:
        for _ in range(4):
            assert len(await encoders.encode(pictures(1))) == 1


async def test_patience_ends() -> None:
    """A batch that cannot be encoded fails after a bounded time with the last reason."""
    fake = FakeEncoder("d1", *(ResourceExhausted("full") for _ in range(50)))
    async with connected(fake, patience=0.3) as encoders:
        with pytest.raises(ResourceExhausted, match="full"):
            await encoders.encode(pictures(1))


async def test_nobody_there_is_said() -> None:
    """Where no encoder answers, the addresses that were tried are named."""
    async with Encoders(["127.0.0.1:1"], patience=0.2) as encoders:
        with pytest.raises(Unavailable, match=r"no encoder answers at 127\.0\.0\.1:1"):
            await encoders.describe()


async def test_one_picture_may_fail_alone() -> None:
    """A picture that the encoder refuses does not fail its companions."""
    fake = FakeEncoder()
    fake.item_error = InvalidArgument("no picture", field="pixels")
    async with connected(fake) as encoders:
        first, second, third = await encoders.encode(pictures(1, 2, 3))
    assert isinstance(second, InvalidArgument)
    assert (np.array(first)[0], np.array(third)[0]) == (1, 3)


async def test_one_picture_that_found_the_queue_full_is_sent_again() -> None:
    """The part of a batch for which there was no room is sent again, and it alone."""
    fake = FakeEncoder()
    fake.item_error = ResourceExhausted("full")
    async with connected(fake) as encoders:
        vectors = await encoders.encode(pictures(1, 2, 3))
    assert np.array(vectors)[:, 0].tolist() == [1, 2, 3]
    assert fake.calls == 2


async def test_models_do_not_mix() -> None:
    """Neither encoders of different models nor one that changes during a build can make a generation."""
    async with connected(FakeEncoder("d1"), FakeEncoder("d2")) as encoders:
        with pytest.raises(FailedPrecondition, match="different models"):
            await encoders.describe()
    fake = FakeEncoder("d1")
    async with connected(fake) as encoders:
        await encoders.describe()
        fake.digest = "d2"
        with pytest.raises(FailedPrecondition, match="changed"):
            await encoders.encode(pictures(1))

"""The encoder service as a build sees it: the only place of the indexer that speaks its protocol."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Self, TypeVar

import grpc
import numpy as np
from numpy.typing import NDArray

from services.indexer.ports import EncoderModel, Vector
from services.pictures import Pixels, Preparation
from services.runtime.calls import call
from services.runtime.pool import Pool
from services.runtime.wire import error_from_message
from sightline.errors import (
    DeadlineExceeded,
    FailedPrecondition,
    InternalError,
    ResourceExhausted,
    SightlineError,
    Unavailable,
)
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc

# What may pass if one waits: a full queue, a replica that restarts, a machine that is slow for a while.
PASSING = (ResourceExhausted, Unavailable, DeadlineExceeded)
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0

T = TypeVar("T")


class EncoderReplica:
    """One encoder; a services.runtime.pool.Backend."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stub: Any = encoder_pb2_grpc.EncoderServiceStub(channel)
        self._in_flight: dict[asyncio.Task[Any], Exception | None] = {}
        self.described: encoder_pb2.DescribeResponse | None = None

    async def probe(self, timeout: float) -> None:
        """Asks which model it serves."""
        deadline = asyncio.get_running_loop().time() + timeout
        self.described = await call(self._stub.Describe, encoder_pb2.DescribeRequest(), deadline)

    def fail(self, error: Exception) -> None:
        """Fails all that is in flight."""
        for task in self._in_flight:
            self._in_flight[task] = error
            task.cancel()

    async def encode(self, request: encoder_pb2.EncodeRequest, deadline: float) -> encoder_pb2.EncodeResponse:
        """Encodes one batch; raises what `fail` was given where that came first."""
        task = asyncio.create_task(call(self._stub.Encode, request, deadline))
        self._in_flight[task] = None
        try:
            response: encoder_pb2.EncodeResponse = await task
            return response
        except asyncio.CancelledError:
            if error := self._in_flight[task]:
                raise error from None
            task.cancel()
            raise
        finally:
            del self._in_flight[task]


class Encoders:
    """All encoders of an installation; a services.indexer.ports.Encoder.

    Args:
        targets: `host:port` each; every address of a name is a replica.
        patience: seconds for which a batch is tried again while all are busy, restarting or silent.
        timeout: seconds that one try may take.
    """

    def __init__(self, targets: Sequence[str], *, patience: float = 120.0, timeout: float = 120.0) -> None:
        self._pool = Pool(targets, EncoderReplica, name="encoder", timeout=5.0)
        self._targets, self._patience, self._timeout = targets, patience, timeout
        self._model: EncoderModel | None = None

    async def __aenter__(self) -> Self:
        await self._pool.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def describe(self) -> EncoderModel:
        """The model that the encoders serve; waits for the first of them to be there.

        Raises:
            Unavailable: none is.
            FailedPrecondition: they serve different models.
        """
        described = await self._patiently(self._described)
        models = {one.model.digest: one.model.name for one in described}
        if len(models) > 1:
            raise FailedPrecondition(f"the encoders serve different models: {', '.join(sorted(models.values()))}")
        self._model = _model(described[0])
        return self._model

    async def encode(self, pixels: Sequence[Pixels]) -> list[Vector | SightlineError]:
        """A unit vector, or an error, for each picture.

        Args:
            pixels: uint8 [height, width, 3] each, prepared as `describe` said.

        Raises:
            FailedPrecondition: the encoders have changed their model.
            SightlineError: the batch failed, and waiting did not help.
        """
        outcomes: list[Vector | SightlineError] = await self._patiently(lambda: self._encode(pixels))
        again = [place for place, outcome in enumerate(outcomes) if isinstance(outcome, PASSING)]
        if again:
            # A part of the batch found the queue full: it alone is sent again.
            retried = await self._patiently(lambda: self._all_or_again([pixels[place] for place in again]))
            for place, outcome in zip(again, retried, strict=True):
                outcomes[place] = outcome
        return outcomes

    async def _all_or_again(self, pixels: Sequence[Pixels]) -> list[Vector | SightlineError]:
        outcomes = await self._encode(pixels)
        for outcome in outcomes:
            if isinstance(outcome, PASSING):
                raise outcome
        return outcomes

    async def _described(self) -> list[encoder_pb2.DescribeResponse]:
        found = [replica.described for replica in self._pool.up() if replica.described is not None]
        if not found:
            raise Unavailable(f"no encoder answers at {', '.join(self._targets)}", reason="NO_ENCODER")
        return found

    async def _encode(self, pixels: Sequence[Pixels]) -> list[Vector | SightlineError]:
        request = encoder_pb2.EncodeRequest(items=[encoder_pb2.EncodeItem(pixels=one.tobytes()) for one in pixels])
        deadline = asyncio.get_running_loop().time() + self._timeout
        response = await self._pool.call(lambda replica, limit: replica.encode(request, limit), deadline=deadline)
        if self._model is not None and response.model.digest != self._model.digest:
            raise FailedPrecondition(f"the encoders changed from {self._model.name} to {response.model.name}")
        return _outcomes(response, len(pixels))

    async def _patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Tries until it succeeds, with longer and longer pauses between, as long as what fails may pass."""
        clock = asyncio.get_running_loop().time
        give_up, pause = clock() + self._patience, FIRST_PAUSE
        while True:
            try:
                return await attempt()
            except PASSING:
                if clock() + pause > give_up:
                    raise
            # Uneven pauses keep batches that failed together from coming back together.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, LONGEST_PAUSE)


def _outcomes(response: encoder_pb2.EncodeResponse, items: int) -> list[Vector | SightlineError]:
    dimension = response.model.dimension
    if len(response.vectors) != 4 * items * dimension:
        raise InternalError(f"the encoder sent {len(response.vectors)} bytes for {items} vectors of {dimension}")
    vectors: NDArray[np.float32] = np.frombuffer(response.vectors, dtype="<f4").reshape(items, dimension)
    outcomes: list[Vector | SightlineError] = list(vectors)
    for failed in response.errors:
        outcomes[failed.index] = error_from_message(failed.error)
    return outcomes


def _preparation(described: encoder_pb2.DescribeResponse) -> Preparation:
    try:
        return Preparation(
            height=described.image_height,
            width=described.image_width,
            resize_mode=described.resize_mode,
            interpolation=described.interpolation,
            fill=described.fill,
        )
    except ValueError as exc:
        raise FailedPrecondition(f"the encoder wants its pictures in a way unknown here: {exc}") from exc


def _model(described: encoder_pb2.DescribeResponse) -> EncoderModel:
    return EncoderModel(
        name=described.model.name,
        digest=described.model.digest,
        dimension=described.model.dimension,
        preparation=_preparation(described),
        scope=described.scope,
        scope_note=described.scope_note,
    )

"""The encoders, as the gateway asks them: one batch call carries the texts, another the pictures, of many queries."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

import grpc
import numpy as np

from services.gateway.questions import Picture, Text
from services.gateway.vectors import Vector
from services.runtime.batcher import Batcher
from services.runtime.calls import call
from services.runtime.metrics import QueueMetrics
from services.runtime.pool import Pool
from services.runtime.tracing import Calling, current
from services.runtime.wire import error_from_message
from services.store import Model
from sightline.errors import FailedPrecondition, SightlineError, Unavailable
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc

ENCODE = "/sightline.internal.v1.EncoderService/Encode"

MAX_BATCH_BYTES = 16 * 1024 * 1024
"""Bytes of pictures in one call: well below what a message may hold."""


UNKNOWN = "unknown"
"""How texts are read before any encoder has said it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    term: Text | Picture
    field: str
    deadline: float
    trace: str


class EncoderReplica:
    """One encoder; a services.runtime.pool.Backend."""

    def __init__(self, channel: grpc.aio.Channel, *, max_batch: int, lanes: int, capacity: int) -> None:
        self._stub = encoder_pb2_grpc.EncoderServiceStub(channel)
        self.model: Model | None = None
        self.reading = ""
        # Apart, so that a picture, which takes long, never holds up the texts that came with it.
        self.texts: Batcher[_Asked, Vector] = Batcher(
            self._send,
            name="encoder",
            capacity=capacity,
            max_weight=max_batch,
            lanes=lanes,
            observer=QueueMetrics("encode_texts"),
        )
        self.pictures: Batcher[_Asked, Vector] = Batcher(
            self._send,
            name="encoder",
            capacity=capacity,
            max_weight=MAX_BATCH_BYTES,
            max_queued=16 * MAX_BATCH_BYTES,
            lanes=lanes,
            weigh=lambda asked: len(asked.term.data) if isinstance(asked.term, Picture) else 0,
            observer=QueueMetrics("encode_images"),
        )

    async def probe(self, timeout: float) -> None:
        """Learns the model."""
        deadline = asyncio.get_running_loop().time() + timeout
        reply = await call(self._stub.Describe, encoder_pb2.DescribeRequest(), deadline)
        self.model = Model(reply.model.name, reply.model.digest, reply.model.dimension, reply.scope)
        self.reading = reply.reading

    def fail(self, error: Exception) -> None:
        """Fails all that is in flight."""
        self.texts.fail_all(error)
        self.pictures.fail_all(error)

    async def encode(self, asked: _Asked, deadline: float) -> Vector:
        """Returns the unit vector, float32 [d]."""
        queue = self.texts if isinstance(asked.term, Text) else self.pictures
        return await queue.submit(replace(asked, deadline=deadline), deadline)

    async def _send(self, batch: Sequence[_Asked]) -> Sequence[Vector | Exception]:
        now = asyncio.get_running_loop().time()
        request = encoder_pb2.EncodeRequest(items=[_item(asked, now) for asked in batch])
        until = max(asked.deadline for asked in batch)
        try:
            with Calling(ENCODE, [asked.trace for asked in batch]) as calling:
                reply = await call(self._stub.Encode, request, until, calling.metadata)
        except SightlineError as error:
            return [error] * len(batch)
        vectors = np.frombuffer(reply.vectors, dtype="<f4").reshape(len(batch), -1)
        results: list[Vector | Exception] = list(vectors)
        for failed in reply.errors:
            results[failed.index] = _named(error_from_message(failed.error), batch[failed.index].field)
        return results


class Encoders:
    """All encoders; a services.gateway.vectors.Encoder."""

    def __init__(self, pool: Pool[EncoderReplica]) -> None:
        self._pool = pool
        self._readings: dict[str, str] = {}

    def model(self) -> Model:
        """Returns the model that is served; Unavailable where no encoder is up."""
        for replica in (*self._pool.staying(), *self._pool.up()):
            if replica.model:
                return replica.model
        raise Unavailable("no encoder is up", reason="NO_ENCODER")

    def reading(self, digest: str) -> str:
        """Returns what the encoders of a model do to texts before it reads them; where none is up, what they did.

        Where none has been up yet it is nothing that an encoder says: older answers might be of another reading.
        """
        for replica in (*self._pool.staying(), *self._pool.up()):
            if replica.model and replica.model.digest == digest:
                self._readings[digest] = replica.reading
                break
        return self._readings.get(digest, UNKNOWN)

    async def encode(
        self, term: Text | Picture, *, digest: str, field: str, deadline: float, reading: str | None = None
    ) -> Vector:
        """Returns the unit vector, float32 [d], that the model of that digest makes.

        Args:
            reading: what must have been done to a text first, as `reading` said it; None where that is all one.

        Raises:
            InvalidArgument: the picture cannot be read.
            FailedPrecondition: the encoders serve another model.
            Unavailable: no encoder answered, or they have come to read texts otherwise.
            ResourceExhausted: the encoder's queue is full.
        """
        served = self.model()
        asked = _Asked(term, field, deadline, current.get())

        def fits(replica: EncoderReplica) -> bool:
            return replica.model is not None and replica.model.digest == digest

        if not any(fits(replica) for replica in self._pool.up()):
            serving = f"{served.name} ({served.digest[:12]})"
            message = f"the collection was made with the model {digest[:12]}, the encoders serve {serving}"
            raise FailedPrecondition(message, reason="MODEL_MISMATCH", field=field)
        if reading is None or isinstance(term, Picture):
            return await self._pool.call(lambda one, limit: one.encode(asked, limit), deadline=deadline, where=fits)

        def reads(replica: EncoderReplica) -> bool:
            return fits(replica) and replica.reading == reading

        if not any(reads(replica) for replica in self._pool.up()):
            # An answer under the key of one translation must not be that of another.
            message = "the encoders have just come to read texts in another way"
            raise Unavailable(message, reason="READING_CHANGED", field=field)
        return await self._pool.call(lambda one, limit: one.encode(asked, limit), deadline=deadline, where=reads)


def _item(asked: _Asked, now: float) -> encoder_pb2.EncodeItem:
    remaining = max(1, int((asked.deadline - now) * 1000))
    if isinstance(asked.term, Text):
        return encoder_pb2.EncodeItem(text=asked.term.text, remaining_ms=remaining)
    return encoder_pb2.EncodeItem(image=asked.term.data, remaining_ms=remaining)


def _named(error: SightlineError, field: str) -> SightlineError:
    """Returns the error, at the field of the caller's request: the encoder knows only its own."""
    if error.field:
        error.field = field
    return error

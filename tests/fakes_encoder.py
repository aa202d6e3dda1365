"""An encoder without a model: the real engine and servicer over vectors that the input's bytes seed."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from threading import Event

import grpc
import numpy as np

from services.encoder.engine import Engine, Limits
from services.encoder.ports import Card, Ids, Model, Raw, Vectors
from services.encoder.servicer import EncoderServicer
from services.pictures import Pixels, Preparation
from services.runtime.interceptor import Border
from sightline._channel import MAX_MESSAGE
from sightline.internal.v1 import encoder_pb2_grpc

CARD = Card("fake", hashlib.sha256(b"fake").hexdigest(), 64, Preparation(32, 32))
CONTEXT = 77


def vector_of(seed: bytes, dimension: int = CARD.dimension) -> Vectors:
    """A unit vector, float32 [dimension], always the same for the same bytes."""
    digest = int.from_bytes(hashlib.sha256(seed).digest()[:8], "little")
    vector = np.random.default_rng(digest).standard_normal(dimension)
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


@dataclass
class FakeModel:
    """A services.encoder.ports.Model that computes nothing, remembers its batches, and waits at a gate."""

    card: Card = CARD
    lanes: int = 1
    batches: list[int] = field(default_factory=list)
    gate: Event = field(default_factory=Event)

    def __post_init__(self) -> None:
        self.gate.set()

    def prepare_texts(self, texts: Sequence[str]) -> list[Ids]:
        return [np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int64)[:CONTEXT] for text in texts]

    def run_texts(self, batch: Sequence[Ids]) -> Raw:
        return self._run([b"text" + ids.tobytes() for ids in batch])

    def run_images(self, batch: Sequence[Pixels]) -> Raw:
        return self._run([b"image" + pixels.tobytes() for pixels in batch])

    def finish(self, raw: Raw) -> Vectors:
        return np.stack([vector_of(seed, self.card.dimension) for seed in raw])

    def _run(self, seeds: list[bytes]) -> Raw:
        self.batches.append(len(seeds))
        self.gate.wait(30)
        return seeds


@asynccontextmanager
async def serving(
    model: Model, limits: Limits | None = None
) -> AsyncIterator[encoder_pb2_grpc.EncoderServiceAsyncStub]:
    """Serves a model on loopback; gives a stub of the service."""
    servicer = EncoderServicer()
    engine = Engine(model, limits or Limits())
    servicer.open(engine)
    server = grpc.aio.server(interceptors=[Border()], options=[("grpc.max_receive_message_length", MAX_MESSAGE)])
    encoder_pb2_grpc.add_EncoderServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
        yield encoder_pb2_grpc.EncoderServiceStub(channel)
    await server.stop(5)
    await engine.close()

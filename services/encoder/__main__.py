"""Runs an encoder: python -m services.encoder"""

from __future__ import annotations

import asyncio

import grpc

from services.encoder.engine import Engine
from services.encoder.model import Model, load
from services.encoder.servicer import EncoderServicer
from services.encoder.settings import EncoderSettings
from services.encoder.sources import find
from services.runtime import settings as environment
from services.runtime.server import serve
from sightline.internal.v1 import encoder_pb2_grpc

SERVICES = ["sightline.internal.v1.EncoderService"]


class Encoder:
    """Everything that an encoder is made of, put together."""

    def __init__(self, settings: EncoderSettings) -> None:
        self._settings = settings
        self._servicer = EncoderServicer()
        self._engine: Engine | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Loads the model and warms it up."""
        model = await asyncio.to_thread(self._load)
        settings = self._settings
        self._engine = Engine(
            model,
            max_text_tokens=settings.max_text_tokens,
            max_image_batch=settings.max_image_batch,
            capacity=settings.queue_capacity,
            decode_threads=settings.decode_threads,
        )
        self._servicer.open(self._engine, model.description)

    async def close(self) -> None:
        """Finishes what was taken."""
        if self._engine:
            await self._engine.close()

    def _load(self) -> Model:
        settings = self._settings
        source = find(settings.model, settings.pretrained)
        model = load(source, device=settings.device, threads=settings.threads)
        model.warm()
        return model


async def main() -> None:
    """Serves until it is told to stop."""
    settings = environment.load(EncoderSettings)
    encoder = Encoder(settings)
    await serve(settings, service_names=SERVICES, register=encoder.register, warm=encoder.start, close=encoder.close)


if __name__ == "__main__":
    asyncio.run(main())

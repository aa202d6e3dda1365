"""Runs an encoder: python -m services.encoder"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

import grpc

from services.encoder.backends import choose
from services.encoder.engine import Engine, Limits
from services.encoder.ports import Model
from services.encoder.servicer import EncoderServicer
from services.encoder.settings import EncoderSettings
from services.encoder.sources import LoadError
from services.runtime import settings as environment
from services.runtime.server import serve
from sightline.internal.v1 import encoder_pb2_grpc

SERVICES = ["sightline.internal.v1.EncoderService"]


class Encoder:
    """Everything that an encoder is made of, put together.

    Args:
        settings: an encoder's.
        load: loads the model that the settings name.
    """

    def __init__(self, settings: EncoderSettings, load: Callable[[EncoderSettings], Model]) -> None:
        self._settings, self._load = settings, load
        self._servicer = EncoderServicer()
        self._engine: Engine | None = None

    def register(self, server: grpc.aio.Server) -> None:
        """Adds the service to a server."""
        encoder_pb2_grpc.add_EncoderServiceServicer_to_server(self._servicer, server)

    async def start(self) -> None:
        """Loads the model and warms it up; raises LoadError where there is none."""
        model = await asyncio.to_thread(self._load, self._settings)
        limits = _limits(self._settings, on_gpu=model.lanes > 1)
        self._engine = Engine(model, limits, decode_threads=self._settings.decode_threads)
        await self._engine.warm()
        self._servicer.open(self._engine)

    async def close(self) -> None:
        """Finishes what was taken."""
        if self._engine:
            await self._engine.close()


def _limits(settings: EncoderSettings, *, on_gpu: bool) -> Limits:
    return Limits(
        # A CPU gains little from larger batches, and what comes next waits for the whole of one.
        text_tokens=settings.max_text_tokens or (16_384 if on_gpu else 512),
        image_batch=settings.max_image_batch or (64 if on_gpu else 8),
        texts=settings.queue_capacity,
        images=settings.image_queue_capacity,
        image_bytes=settings.max_image_bytes,
        image_pixels=settings.max_image_pixels,
    )


def load_model(settings: EncoderSettings) -> Model:
    """Loads the model that the settings name, and what translates for it; raises LoadError where there is none."""
    model = _load_model(settings)
    if not settings.translate:
        return model
    # Importing it takes a while, and needs packages that others do not.
    try:
        from services.encoder import ctranslate  # noqa: PLC0415
    except ImportError as error:
        message = f"a translation needs the extra `encoder-translate`, which is not installed ({error})"
        raise LoadError(message, setting="SIGHTLINE_TRANSLATE") from error
    return ctranslate.translated(model, settings.translate, settings.translate_certainty, threads=settings.threads)


def _load_model(settings: EncoderSettings) -> Model:
    options = {"threads": settings.threads, "remembered_texts": settings.remembered_texts}
    # Importing either takes a while: meanwhile the ports are open and say so, and wrong settings are told at once.
    if choose(settings.backend, settings.model, settings.device) == "onnx":
        from services.encoder import onnx_model  # noqa: PLC0415

        return onnx_model.load(settings.model, settings.pretrained, **options)
    from services.encoder import model  # noqa: PLC0415

    return model.load(settings.model, settings.pretrained, device=settings.device, **options)


async def main() -> None:
    """Serves until it is told to stop."""
    settings = environment.load(EncoderSettings)
    encoder = Encoder(settings, load_model)
    try:
        await serve(
            settings, service_names=SERVICES, register=encoder.register, warm=encoder.start, close=encoder.close
        )
    except LoadError as error:
        print(f"{error.setting}: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    asyncio.run(main())

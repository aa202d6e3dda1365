"""Texts and pictures, each in natural batches, before one thread that computes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter

from services.pictures import Preparation, open_picture, prepare
from services.runtime.batcher import Batcher
from services.runtime.metrics import QueueMetrics
from sightline.errors import InvalidArgument

MAX_TEXT_BYTES = 4096

items_total = Counter("sightline_encoder_items_total", "Items that the model computed.", ["kind"])

Vector = NDArray[np.float32]
Tokens = NDArray[np.int64]
Pixels = NDArray[np.uint8]


class Describes(Protocol):
    """The part of a model's description that is needed here."""

    @property
    def preparation(self) -> Preparation: ...


class Runs(Protocol):
    """A model, as services.encoder.model.Model has it."""

    @property
    def description(self) -> Describes: ...

    def tokenise(self, texts: Sequence[str]) -> list[Tokens]: ...

    def encode_tokens(self, tokens: Sequence[Tokens]) -> NDArray[np.float32]: ...

    def encode_pixels(self, pixels: Pixels) -> NDArray[np.float32]: ...


class Engine:
    """Encodes whatever comes.

    Args:
        model: computes, on one thread.
        max_text_tokens: tokens in a batch of texts.
        max_image_batch: pictures in a batch.
        capacity: texts, and pictures, that may queue.
        decode_threads: threads that decode and tokenise meanwhile.
    """

    def __init__(
        self, model: Runs, *, max_text_tokens: int, max_image_batch: int, capacity: int, decode_threads: int
    ) -> None:
        self._model = model
        self._computing = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._preparing = ThreadPoolExecutor(decode_threads, thread_name_prefix="prepare")
        self._texts: Batcher[Tokens, Vector] = Batcher(
            self._run_texts,
            name="encoder",
            capacity=capacity,
            max_weight=max_text_tokens,
            weigh=len,
            observer=QueueMetrics("texts"),
        )
        self._pictures: Batcher[Pixels, Vector] = Batcher(
            self._run_pictures,
            name="encoder",
            capacity=capacity,
            max_weight=max_image_batch,
            observer=QueueMetrics("images"),
        )

    async def tokenise(self, texts: Sequence[str]) -> list[Tokens]:
        """Returns the token ids of texts; off the event loop, since a text takes tens of microseconds."""
        return await asyncio.get_running_loop().run_in_executor(self._preparing, self._model.tokenise, texts)

    async def encode_tokens(self, tokens: Tokens, deadline: float | None) -> Vector:
        """Returns the unit vector, float32 [d], of a text; see services.runtime.batcher.Batcher.submit for errors."""
        return await self._texts.submit(tokens, deadline)

    async def encode_image(self, data: bytes, deadline: float | None) -> Vector:
        """Returns the unit vector, float32 [d], of an image file.

        Raises:
            InvalidArgument: the image cannot be read.
        """
        pixels = await asyncio.get_running_loop().run_in_executor(self._preparing, self._prepare, data)
        return await self._pictures.submit(pixels, deadline)

    async def encode_pixels(self, data: bytes, deadline: float | None) -> Vector:
        """Returns the unit vector, float32 [d], of a prepared picture: uint8, height × width × 3.

        Raises:
            InvalidArgument: it has another size.
        """
        size = self._model.description.preparation
        if len(data) != size.height * size.width * 3:
            message = f"a prepared picture has {size.height} × {size.width} × 3 bytes, got {len(data):,}"
            raise InvalidArgument(message, field="pixels")
        pixels = np.frombuffer(data, dtype=np.uint8).reshape(size.height, size.width, 3)
        return await self._pictures.submit(pixels, deadline)

    async def close(self) -> None:
        """Finishes what was taken, and ends the threads."""
        await asyncio.gather(self._texts.close(), self._pictures.close())
        self._computing.shutdown()
        self._preparing.shutdown()

    def _prepare(self, data: bytes) -> Pixels:
        return prepare(open_picture(data), self._model.description.preparation)

    async def _run_texts(self, batch: Sequence[Tokens]) -> Sequence[Vector]:
        items_total.labels("text").inc(len(batch))
        loop = asyncio.get_running_loop()
        return list(await loop.run_in_executor(self._computing, self._model.encode_tokens, batch))

    async def _run_pictures(self, batch: Sequence[Pixels]) -> Sequence[Vector]:
        items_total.labels("image").inc(len(batch))
        loop = asyncio.get_running_loop()
        return list(await loop.run_in_executor(self._computing, self._model.encode_pixels, np.stack(batch)))


def check_text(text: str) -> str:
    """Returns the text; raises InvalidArgument where it is blank or longer than 4,096 bytes."""
    if not text.strip():
        raise InvalidArgument("must not be empty", reason="TEXT_EMPTY", field="text")
    if len(text.encode()) > MAX_TEXT_BYTES:
        message = f"must be at most {MAX_TEXT_BYTES:,} bytes of UTF-8, got {len(text.encode()):,}"
        raise InvalidArgument(message, reason="TEXT_TOO_LONG", field="text")
    return text

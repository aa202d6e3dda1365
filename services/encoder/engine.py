"""Texts and pictures, each in natural batches, before one thread that computes.

    text  → tokenise ─┐ batches by tokens ─┐
    image → decode ───┼ batches by count ──┼→ model thread → finish → unit vector
    pixels ───────────┘                    ┘

Tokenising and decoding queue in batchers of their own, so that on each stage those who left and those whose deadline
has passed are dropped before anything is done for them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import Counter, Histogram

from services.encoder.ports import Card, Ids, Model, Raw
from services.pictures import MAX_BYTES, MAX_PIXELS, Pixels, open_picture, prepare
from services.runtime.batcher import Batcher
from services.runtime.metrics import SECONDS, QueueMetrics
from sightline.errors import InternalError, InvalidArgument, ResourceExhausted

MAX_TEXT_BYTES = 4096

Vector = NDArray[np.float32]
Kind = Literal["text", "image"]

items_total = Counter("sightline_encoder_items_total", "Items that the model computed.", ["kind"])
run_seconds = Histogram("sightline_encoder_run_seconds", "Time of one batch in the model.", ["kind"], buckets=SECONDS)
for _kind in ("text", "image"):
    items_total.labels(_kind)
    run_seconds.labels(_kind)

# From a word to more than most contexts hold: each length is a shape of its own to the libraries below.
_WARM_WORDS = (1, 4, 12, 40, 100)
_WARM_COUNTS = (1, 2, 8)


@dataclass(frozen=True, slots=True)
class Limits:
    """What an engine takes at a time.

    Attributes:
        text_tokens: tokens in a batch of texts.
        image_batch: pictures in a batch.
        texts, images: how many may be inside, waiting or being computed; one more is refused at once.
        image_bytes, image_pixels: of one image file, and of the picture in it.
    """

    text_tokens: int = 512
    image_batch: int = 8
    texts: int = 1024
    images: int = 256
    image_bytes: int = MAX_BYTES
    image_pixels: int = MAX_PIXELS


_PENDING = InternalError("not computed")


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    field: str


class Engine:
    """Encodes whatever comes. Lives in one event loop.

    Args:
        model: computes.
        limits: what it takes at a time.
        decode_threads: threads that decode image files.
    """

    def __init__(self, model: Model, limits: Limits, *, decode_threads: int = 2) -> None:
        self._model, self._limits = model, limits
        self._inside: dict[Kind, int] = {"text": 0, "image": 0}
        self._tokenising, self._computing, self._finishing = (
            ThreadPoolExecutor(1, thread_name_prefix=name) for name in ("tokenise", "model", "finish")
        )
        self._decoding = ThreadPoolExecutor(decode_threads, thread_name_prefix="decode")
        self._tokeniser: Batcher[str, Ids] = Batcher(
            self._tokenise,
            name="encoder",
            capacity=limits.texts,
            max_weight=64,
            prepares=True,
            observer=QueueMetrics("tokenise"),
        )
        self._decoder: Batcher[_File, Pixels] = Batcher(
            self._decode,
            name="encoder",
            capacity=limits.images,
            max_weight=1,
            lanes=decode_threads,
            prepares=True,
            observer=QueueMetrics("decode"),
        )
        self._texts: Batcher[Ids, Vector] = Batcher(
            lambda batch: self._compute("text", model.run_texts, batch),
            name="encoder",
            capacity=limits.texts,
            max_weight=limits.text_tokens,
            lanes=model.lanes,
            weigh=len,
            observer=QueueMetrics("texts"),
        )
        self._images: Batcher[Pixels, Vector] = Batcher(
            lambda batch: self._compute("image", model.run_images, batch),
            name="encoder",
            capacity=limits.images,
            max_weight=limits.image_batch,
            lanes=model.lanes,
            observer=QueueMetrics("images"),
        )
        self._stacks: Batcher[Sequence[Pixels], Sequence[Vector | Exception]] = Batcher(
            self._compute_stack,
            name="encoder",
            capacity=limits.images,
            max_weight=1,
            lanes=model.lanes,
            observer=QueueMetrics("stacks"),
        )

    @property
    def card(self) -> Card:
        """Which model it is."""
        return self._model.card

    async def text(self, text: str, deadline: float | None = None, *, field: str = "text") -> Vector:
        """Returns the unit vector, float32 [d], of a text.

        Args:
            text: what is beyond the model's context does not count.
            deadline: in `loop.time()` seconds.
            field: what errors name.

        Raises:
            InvalidArgument: the text is blank or too long.
            ResourceExhausted: too much is inside.
            DeadlineExceeded: the deadline passed first.
        """
        _check_text(text, field)
        with self._admitted("text", self._limits.texts):
            return await self._texts.submit(await self._tokeniser.submit(text, deadline), deadline)

    async def image(self, data: bytes, deadline: float | None = None, *, field: str = "image") -> Vector:
        """Returns the unit vector, float32 [d], of an image file. Errors are as for `text`."""
        with self._admitted("image", self._limits.images):
            pixels = await self._decoder.submit(_File(data, field), deadline)
            return await self._images.submit(pixels, deadline)

    async def pixels(self, data: bytes, deadline: float | None = None, *, field: str = "pixels") -> Vector:
        """Returns the unit vector, float32 [d], of a prepared picture: uint8, height × width × 3.

        Errors are as for `text`.
        """
        picture = self._unpack(data, field)
        with self._admitted("image", self._limits.images):
            return await self._images.submit(picture, deadline)

    async def stack(
        self, pictures: Sequence[bytes], deadline: float | None = None, *, fields: Sequence[str]
    ) -> list[Vector | Exception]:
        """Returns the unit vectors of prepared pictures, each by itself a vector or an error as of `pixels`.

        In the model they meet nobody else's pictures: the same stack gives the same bits, whatever else is encoded. A
        model's last bits depend on how many pictures it computes at a time, so that an index could not be built twice
        with the same bytes if companions came by chance.

        Raises as `pixels` does, for all of them.
        """
        outcomes: list[Vector | Exception] = []
        sound: list[Pixels] = []
        for data, field in zip(pictures, fields, strict=True):
            try:
                sound.append(self._unpack(data, field))
                outcomes.append(_PENDING)
            except InvalidArgument as error:
                outcomes.append(error)
        with self._admitted("image", self._limits.images, len(sound)):
            computed = iter(await self._stacks.submit(sound, deadline) if sound else ())
        return [next(computed) if one is _PENDING else one for one in outcomes]

    async def warm(self) -> None:
        """Runs shapes that queries have, so that the first of them finds everything loaded, compiled and allocated."""
        model, shape = self._model, self.card.preparation
        texts = model.prepare_texts([" ".join(["word"] * words) for words in _WARM_WORDS])
        black = np.zeros((shape.height, shape.width, 3), dtype=np.uint8)
        for ids, count in product(texts, _WARM_COUNTS):
            await self._run(model.run_texts, [ids] * count)
        for count in {*_WARM_COUNTS, self._limits.image_batch}:
            await self._run(model.run_images, [black] * count)

    async def close(self) -> None:
        """Finishes what was taken, and ends the threads."""
        while any(self._inside.values()):  # what is between two stages is in no queue
            await asyncio.sleep(0.005)
        for stage in (self._tokeniser, self._decoder, self._texts, self._images, self._stacks):
            await stage.close()
        for threads in (self._tokenising, self._decoding, self._computing, self._finishing):
            threads.shutdown()

    @contextmanager
    def _admitted(self, kind: Kind, limit: int, count: int = 1) -> Iterator[None]:
        # A stack that is larger than the whole queue would never be taken: it is, where nothing else waits.
        if self._inside[kind] and self._inside[kind] + count > limit:
            raise ResourceExhausted(f"the encoder's queue is full ({limit} {kind}s wait)")
        self._inside[kind] += count
        try:
            yield
        finally:
            self._inside[kind] -= count

    def _unpack(self, data: bytes, field: str) -> Pixels:
        shape = (self.card.preparation.height, self.card.preparation.width, 3)
        if len(data) != np.prod(shape):
            size = " × ".join(map(str, shape))
            message = f"a prepared picture has {size} bytes here, got {len(data):,}"
            raise InvalidArgument(message, reason="WRONG_SIZE", field=field)
        return np.frombuffer(data, dtype=np.uint8).reshape(shape)

    async def _tokenise(self, batch: Sequence[str]) -> Sequence[Ids]:
        return await asyncio.get_running_loop().run_in_executor(self._tokenising, self._model.prepare_texts, batch)

    async def _decode(self, batch: Sequence[_File]) -> Sequence[Pixels | Exception]:
        return await asyncio.get_running_loop().run_in_executor(self._decoding, self._read, batch[0])

    def _read(self, file: _File) -> Sequence[Pixels | Exception]:
        limits = self._limits
        try:
            picture = open_picture(
                file.data, field=file.field, max_bytes=limits.image_bytes, max_pixels=limits.image_pixels
            )
        except InvalidArgument as error:
            return [error]
        return [prepare(picture, self.card.preparation)]

    async def _compute(
        self, kind: Kind, run: Callable[[Sequence[Any]], Raw], batch: Sequence[Any]
    ) -> Sequence[Vector | Exception]:
        began = time.perf_counter()
        vectors = await self._run(run, batch)
        run_seconds.labels(kind).observe(time.perf_counter() - began)
        items_total.labels(kind).inc(len(batch))
        # A vector that is no vector would poison whatever index or cache it comes to.
        sound = np.isfinite(vectors).all(axis=1) & (np.abs(vectors).max(axis=1) > 0)
        broken = InternalError("the model made no vector of this", reason="NO_VECTOR")
        return [vector if whole else broken for vector, whole in zip(vectors, sound, strict=True)]

    async def _compute_stack(self, batch: Sequence[Sequence[Pixels]]) -> Sequence[Sequence[Vector | Exception]]:
        (stack,) = batch
        size, found = self._limits.image_batch, list[Vector | Exception]()
        # One after the other, so that queries get in between.
        for first in range(0, len(stack), size):
            found += await self._compute("image", self._model.run_images, stack[first : first + size])
        return [found]

    async def _run(self, run: Callable[[Sequence[Any]], Raw], batch: Sequence[Any]) -> NDArray[np.float32]:
        loop = asyncio.get_running_loop()
        raw = await loop.run_in_executor(self._computing, run, batch)
        return await loop.run_in_executor(self._finishing, self._model.finish, raw)


def _check_text(text: str, field: str) -> None:
    if not text.strip():
        raise InvalidArgument("must not be empty", reason="TEXT_EMPTY", field=field)
    # Most texts are so short that their bytes need not be counted.
    if 4 * len(text) > MAX_TEXT_BYTES and (size := len(text.encode())) > MAX_TEXT_BYTES:
        message = f"must be at most {MAX_TEXT_BYTES:,} bytes of UTF-8, got {size:,}"
        raise InvalidArgument(message, reason="TEXT_TOO_LONG", field=field)

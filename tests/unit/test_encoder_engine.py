"""services/encoder/engine.py, over a model that computes nothing."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from PIL import Image
from prometheus_client import REGISTRY

from services.encoder.engine import MAX_TEXT_BYTES, Engine, Limits
from services.encoder.ports import Ids, Raw, Vectors
from sightline.errors import DeadlineExceeded, InternalError, InvalidArgument, ResourceExhausted
from tests.fakes_encoder import FakeModel, vector_of


@pytest.fixture
async def model() -> AsyncIterator[FakeModel]:
    model = FakeModel()
    yield model
    model.gate.set()


def computed(kind: str) -> float:
    return REGISTRY.get_sample_value("sightline_encoder_items_total", {"kind": kind}) or 0.0


def picture(colour: str = "red") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "PNG")
    return file.getvalue()


async def busy(engine: Engine, model: FakeModel) -> asyncio.Task[Any]:
    """Closes the gate and sends one text, so that what follows queues."""
    model.gate.clear()
    task = asyncio.create_task(engine.text("first"))
    await until(lambda: bool(model.batches))
    return task


async def until(true: Any) -> None:
    for _ in range(2000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("it never came")


async def test_texts_and_pictures(model: FakeModel) -> None:
    """Each input has its own vector, whatever it is batched with."""
    engine = Engine(model, Limits())
    pixels = np.arange(32 * 32 * 3, dtype=np.uint8).tobytes()
    cat, dog, image, prepared = await asyncio.gather(
        engine.text("cat"), engine.text("dog"), engine.image(picture()), engine.pixels(pixels)
    )
    assert np.array_equal(cat, vector_of(b"text" + np.array([99, 97, 116]).tobytes()))
    assert np.array_equal(dog, await engine.text("dog"))
    assert np.array_equal(prepared, vector_of(b"image" + pixels))
    assert np.array_equal(image, await engine.image(picture()))
    await engine.close()


async def test_natural_batches(model: FakeModel) -> None:
    """What queues while the model is busy goes together, up to so many tokens."""
    engine = Engine(model, Limits(text_tokens=10))
    first = await busy(engine, model)
    later = [asyncio.create_task(engine.text(f"four{number}"[:5])) for number in range(4)]
    await until(lambda: engine._texts.queued == 4)
    model.gate.set()
    await asyncio.gather(first, *later)
    assert model.batches == [1, 2, 2]
    await engine.close()


async def test_counts(model: FakeModel) -> None:
    """Everything that was computed is counted, by kind, and nothing else."""
    engine = Engine(model, Limits())
    texts, images = computed("text"), computed("image")
    await engine.warm()
    assert computed("text") == texts
    await asyncio.gather(engine.text("cat"), engine.text("dog"), engine.image(picture()))
    with pytest.raises(InvalidArgument):
        await engine.image(b"no picture")
    assert (computed("text") - texts, computed("image") - images) == (2, 1)
    await engine.close()


@pytest.mark.parametrize("kind", ["text", "image"])
async def test_full(model: FakeModel, kind: str) -> None:
    """Above its capacity the engine refuses at once, by name; who leaves makes room."""
    engine = Engine(model, Limits(texts=2, images=2))
    model.gate.clear()

    def send() -> Awaitable[Any]:
        return engine.text("cat") if kind == "text" else engine.image(picture())

    inside = [asyncio.ensure_future(send()) for _ in range(2)]
    await asyncio.sleep(0)
    with pytest.raises(ResourceExhausted, match="full"):
        await send()
    inside[0].cancel()
    await asyncio.wait(inside[:1])
    third = asyncio.ensure_future(send())
    model.gate.set()
    await asyncio.gather(inside[1], third)
    await engine.close()


async def test_expired(model: FakeModel) -> None:
    """An item whose deadline passed, before or while it queued, is never computed."""
    engine = Engine(model, Limits())
    clock = asyncio.get_running_loop().time
    before = computed("text"), computed("image")
    for late in (engine.text("late", clock() - 1), engine.image(picture(), clock() - 1)):
        with pytest.raises(DeadlineExceeded):
            await late
    first = await busy(engine, model)
    for queued in (engine.text("queued", clock() + 0.05), engine.image(picture(), clock() + 0.05)):
        with pytest.raises(DeadlineExceeded):
            await queued
    model.gate.set()
    await first
    await engine.close()
    assert (computed("text") - before[0], computed("image") - before[1]) == (1, 0)


@pytest.mark.parametrize("text", ["", "  \n\t", "\u3000"])
async def test_blank(model: FakeModel, text: str) -> None:
    """A text without a word in it is refused, and the error names the field."""
    engine = Engine(model, Limits())
    with pytest.raises(InvalidArgument) as caught:
        await engine.text(text, field="items[3].text")
    assert (caught.value.field, caught.value.reason) == ("items[3].text", "TEXT_EMPTY")
    await engine.close()


async def test_long(model: FakeModel) -> None:
    """A text may have 4,096 bytes, whatever its letters take, and not one more."""
    engine = Engine(model, Limits())
    for letter in ("a", "é", "狗"[:1], "🐕"):
        fits = letter * (MAX_TEXT_BYTES // len(letter.encode()))
        await engine.text(fits)
        with pytest.raises(InvalidArgument, match="4,096"):
            await engine.text(fits + letter)
    await engine.close()


async def test_limits_of_pictures(model: FakeModel) -> None:
    """Limits of files and pictures are the engine's, and errors name the field."""
    engine = Engine(model, Limits(image_bytes=200, image_pixels=100))
    with pytest.raises(InvalidArgument, match="100 pixels") as caught:
        await engine.image(picture(), field="items[0].image")
    assert caught.value.field == "items[0].image"
    with pytest.raises(InvalidArgument, match="200 bytes"):
        await engine.image(bytes(201))
    with pytest.raises(InvalidArgument, match=r"32 × 32 × 3 bytes here, got 5"):
        await engine.pixels(b"12345")
    await engine.close()


@dataclass
class Poisoned(FakeModel):
    """Makes no vector of texts of one letter, and fails whole batches that have one of two."""

    def run_texts(self, batch: Sequence[Ids]) -> Raw:
        if len(batch) > 1 and any(len(ids) == 2 for ids in batch):
            raise RuntimeError("the batch does not fit")
        return [(len(ids), seed) for ids, seed in zip(batch, super().run_texts(batch), strict=True)]

    def finish(self, raw: Raw) -> Vectors:
        return np.stack([vector_of(seed) * (np.nan if length == 1 else 1) for length, seed in raw])


async def test_no_vector() -> None:
    """Where the model makes no number of an input, that input alone has an error."""
    engine = Engine(Poisoned(), Limits())
    bad, good = await asyncio.gather(engine.text("a"), engine.text("good"), return_exceptions=True)
    assert isinstance(bad, InternalError)
    assert isinstance(good, np.ndarray)
    await engine.close()


async def test_failed_batch() -> None:
    """A batch that fails as a whole is computed again one by one."""
    engine = Engine(Poisoned(), Limits())
    assert len(await asyncio.gather(engine.text("ab"), engine.text("good"), engine.text("fine"))) == 3
    await engine.close()


async def test_close(model: FakeModel) -> None:
    """What was taken is answered before the engine ends."""
    engine = Engine(model, Limits())
    first = await busy(engine, model)
    later = [asyncio.create_task(engine.text("cat")), asyncio.create_task(engine.image(picture()))]
    await asyncio.sleep(0)
    closing = asyncio.create_task(engine.close())
    await asyncio.sleep(0.02)
    model.gate.set()
    await asyncio.gather(first, *later, closing)

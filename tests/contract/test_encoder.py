"""What every encoder holds to: one without a model, and the real ones, by torch and by onnxruntime, over a small CLIP
with random weights."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import TypeAlias

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from prometheus_client import REGISTRY

from services.encoder import onnx_model
from services.encoder.engine import Limits
from services.encoder.model import load
from services.encoder.ports import Model
from services.pictures import Preparation, open_picture, prepare
from sightline.internal.v1 import encoder_pb2, encoder_pb2_grpc
from tests.fakes_encoder import FakeModel, serving

Stub: TypeAlias = "encoder_pb2_grpc.EncoderServiceAsyncStub"  # typed for asyncio in the stubs alone

Item = encoder_pb2.EncodeItem


@pytest.fixture(scope="module", params=["fake", "torch", "onnx"])
def model(request: pytest.FixtureRequest) -> Model:
    if request.param == "fake":
        return FakeModel()
    exported: Path = request.getfixturevalue("exported")
    return onnx_model.load(str(exported)) if request.param == "onnx" else load(str(exported.parent / "source"))


@pytest.fixture
async def stub(model: Model) -> AsyncIterator[Stub]:
    async with serving(model) as stub:
        yield stub


def picture(size: tuple[int, int] = (90, 50), kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, kind)
    return file.getvalue()


async def encode(stub: Stub, *items: encoder_pb2.EncodeItem) -> tuple[NDArray[np.float32], encoder_pb2.EncodeResponse]:
    reply = await stub.Encode(encoder_pb2.EncodeRequest(items=items), timeout=30)
    return np.frombuffer(reply.vectors, dtype="<f4").reshape(len(items), reply.model.dimension), reply


def computed() -> float:
    kinds = ("text", "image")
    return sum(REGISTRY.get_sample_value("sightline_encoder_items_total", {"kind": kind}) or 0 for kind in kinds)


async def test_describe(stub: Stub, model: Model) -> None:
    """An encoder says which model it serves and how pictures must be prepared for it."""
    described = await stub.Describe(encoder_pb2.DescribeRequest(), timeout=30)
    assert described.model.digest == model.card.digest
    assert len(described.model.digest) == 64
    assert (described.image_height, described.image_width, described.resize_mode) == (32, 32, "shortest")


async def test_unit_vectors(stub: Stub) -> None:
    """Texts, files and prepared pictures of one call each have a unit vector, in their order."""
    vectors, reply = await encode(stub, Item(text="a dog"), Item(image=picture()), Item(text="狗"), Item(text="a dog"))
    assert not reply.errors
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-6)
    assert np.abs(vectors[0] - vectors[3]).max() < 1e-6
    assert np.abs(vectors[0] - vectors[2]).max() > 1e-3


async def test_prepared_elsewhere(stub: Stub) -> None:
    """A picture has the same vector whether the encoder prepared it or its caller did as Describe says."""
    said = await stub.Describe(encoder_pb2.DescribeRequest(), timeout=30)
    preparation = Preparation(said.image_height, said.image_width, said.resize_mode, said.interpolation, said.fill)
    pixels = prepare(open_picture(picture()), preparation).tobytes()
    vectors, _ = await encode(stub, Item(image=picture()), Item(pixels=pixels))
    assert np.abs(vectors[0] - vectors[1]).max() < 1e-6


async def test_companions(stub: Stub) -> None:
    """A text's vector does not depend on its companions."""
    texts = ["dog", "a big dog on the grass", "words " * 300, *(f"text {number}" for number in range(40))]
    together, _ = await encode(stub, *(Item(text=text) for text in texts))
    for place in (0, 1, 2, 20):
        alone, _ = await encode(stub, Item(text=texts[place]))
        assert np.abs(together[place] - alone[0]).max() < 1e-6


@pytest.mark.parametrize(
    ("item", "field", "says"),
    [
        (Item(text=""), "items[1].text", "empty"),
        (Item(text=" \n"), "items[1].text", "empty"),
        (Item(text="a" * 4097), "items[1].text", "4,096"),
        (Item(image=b""), "items[1].image", "empty"),
        (Item(image=b"no picture"), "items[1].image", "PNG"),
        (Item(image=picture(kind="JPEG")[:900]), "items[1].image", "truncated"),
        (Item(image=picture((9000, 8000), "GIF")[:10_000]), "items[1].image", "64,000,000"),
        (Item(image=bytes(10 * 1024 * 1024 + 1)), "items[1].image", "10,485,760"),
        (Item(pixels=bytes(7)), "items[1].pixels", "32 × 32 × 3"),
        (Item(), "items[1]", "a text, an image or pixels"),
    ],
)
async def test_bad_item(stub: Stub, item: encoder_pb2.EncodeItem, field: str, says: str) -> None:
    """A bad item has an error of its own, which names field and limit, and its companions have their vectors."""
    vectors, reply = await encode(stub, Item(text="before"), item, Item(text="after"))
    assert [failed.index for failed in reply.errors] == [1]
    error = reply.errors[0].error
    assert (error.code, error.field) == (grpc.StatusCode.INVALID_ARGUMENT.value[0], field)
    assert says in error.message
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 0, 1], abs=1e-6)


async def test_expired(stub: Stub) -> None:
    """An item whose time is up is not computed, and its companions are."""
    async with asyncio.timeout(30):
        before = computed()
        items = [Item(image=picture((1500, 1500)), remaining_ms=1), Item(text="in time", remaining_ms=20_000)]
        vectors, reply = await encode(stub, *items)
    assert [(failed.index, failed.error.reason) for failed in reply.errors] == [(0, "DEADLINE_EXCEEDED")]
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([0, 1], abs=1e-6)
    assert computed() - before == 1


async def test_full(model: Model) -> None:
    """What is above the capacity is refused at once, item by item."""
    async with serving(model, Limits(texts=3, images=2)) as stub:
        _, reply = await encode(stub, *(Item(text=f"text {number}") for number in range(10)))
        assert [failed.index for failed in reply.errors] == [3, 4, 5, 6, 7, 8, 9]
        assert {failed.error.reason for failed in reply.errors} == {"QUEUE_FULL"}
        _, reply = await encode(stub, *(Item(image=picture()) for _ in range(3)))
        assert [failed.index for failed in reply.errors] == [2]


@pytest.mark.parametrize("count", [0, 1025])
async def test_count(stub: Stub, count: int) -> None:
    """A call carries from one to 1,024 items."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await encode(stub, *[Item(text="dog")] * count)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert "1,024" in str(caught.value.details())

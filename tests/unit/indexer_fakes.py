"""What the tests of the indexer share: pictures, things that are none, and an encoder without a model."""

from __future__ import annotations

import hashlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from services.indexer.ports import EncoderModel, Vector
from services.pictures import Pixels, Preparation
from sightline.errors import SightlineError

PREPARATION = Preparation(height=8, width=8, resize_mode="shortest", interpolation="bicubic", fill=0)
DIMENSION = 16


def picture_bytes(kind: str = "PNG", size: tuple[int, int] = (40, 30), grey: int = 90) -> bytes:
    """A picture file of one colour."""
    out = io.BytesIO()
    Image.new("RGB", size, (grey, 30, 30)).save(out, kind)
    return out.getvalue()


def huge_png() -> bytes:
    """A PNG whose header says 50,000 x 50,000, and hardly anything else."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def zip_bytes() -> bytes:
    """An archive, which may call itself a picture."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.png", picture_bytes())
    return out.getvalue()


def truncated_jpeg() -> bytes:
    """The first half of a photograph."""
    out = io.BytesIO()
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(out, "JPEG")
    return out.getvalue()[: len(out.getvalue()) // 2]


BROKEN = {
    "empty.png": b"",
    "text.jpg": b"just words\n",
    "archive.png": zip_bytes(),
    "huge.png": huge_png(),
    "truncated.jpg": truncated_jpeg(),
    "truncated.png": picture_bytes()[:30],
}
"""Files that are no pictures, by name."""


class FakeEncoder:
    """Gives each picture the unit vector that its pixels seed; a services.indexer.ports.Encoder."""

    def __init__(self, *, scope: str = "", answer: Callable[[Pixels], Vector | SightlineError] | None = None) -> None:
        self.model = EncoderModel(
            "fake", "d1", DIMENSION, PREPARATION, scope, "Real weights are as easy: see the docs."
        )
        self.batches: list[int] = []
        self._answer = answer or seeded_vector

    async def __aenter__(self) -> FakeEncoder:
        return self

    async def __aexit__(self, *_: object) -> None:
        return None

    async def describe(self) -> EncoderModel:
        return self.model

    async def encode(self, pixels: Sequence[Pixels]) -> list[Vector | SightlineError]:
        self.batches.append(len(pixels))
        return [self._answer(one) for one in pixels]


def seeded_vector(pixels: Pixels) -> Vector:
    """A unit vector, float32 [DIMENSION], the same for the same pixels."""
    seed = int.from_bytes(hashlib.sha256(pixels.tobytes()).digest()[:8], "big")
    vector = np.random.default_rng(seed).standard_normal(DIMENSION)
    return np.asarray(vector / np.linalg.norm(vector), np.float32)

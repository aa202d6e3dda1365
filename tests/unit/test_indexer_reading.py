"""Reading: a file becomes a prepared picture, or a reason."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from services.indexer.reading import Picture, Reader
from services.indexer.rows import Refusal, Row
from tests.unit.indexer_fakes import BROKEN, PREPARATION, picture_bytes


@pytest.fixture
def read() -> Iterator[Callable[..., object]]:
    with ThreadPoolExecutor(1) as executor:

        def make(**options: object) -> Reader:
            return Reader(PREPARATION, executor, pause=lambda _: None, **options)  # type: ignore[arg-type]

        yield make


async def test_a_file_becomes_a_prepared_picture(tmp_path: Path, read: Callable[..., Reader]) -> None:
    """A picture has the pixels that the model wants, a thumbnail, and the size of the original."""
    file = tmp_path / "a.png"
    file.write_bytes(picture_bytes(size=(400, 300)))
    picture = await read().read(Row("a", "a.png", str(file)))
    assert isinstance(picture, Picture)
    assert picture.pixels.shape == (8, 8, 3)
    assert picture.pixels.dtype == np.dtype(np.uint8)
    assert picture.pixels[4, 4].tolist() == [90, 30, 30]
    assert (picture.width, picture.height) == (400, 300)
    small = Image.open(io.BytesIO(picture.thumbnail))
    assert (small.format, small.size) == ("WEBP", (256, 192))


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_is_a_refusal_with_a_reason(
    tmp_path: Path, read: Callable[..., Reader], data: bytes
) -> None:
    """Whatever is wrong with a file, it ends as a refusal that says what, never as an error."""
    file = tmp_path / "a.png"
    file.write_bytes(data)
    refusal = await read().read(Row("a", "a.png", str(file), line=4))
    assert isinstance(refusal, Refusal)
    assert (refusal.uri, refusal.line) == ("a.png", 4)
    assert len(refusal.reason) > 10


async def test_a_file_that_is_not_there_is_a_refusal(tmp_path: Path, read: Callable[..., Reader]) -> None:
    """A missing file and a scheme that nobody knows are refused by name."""
    missing = await read().read(Row("a", "a.png", str(tmp_path / "a.png")))
    unknown = await read().read(Row("a", "x://a.png", "x://a.png"))
    assert isinstance(missing, Refusal)
    assert missing.reason == "cannot be read: no such file or directory"
    assert isinstance(unknown, Refusal)


async def test_a_network_that_stumbles_is_asked_again(read: Callable[..., Reader]) -> None:
    """A failure that may pass is tried again; one that lasts is a refusal."""
    calls: list[str] = []

    def stumbling(location: str, span: object) -> bytes:
        calls.append(location)
        if len(calls) < 3:
            raise ConnectionResetError("reset")
        return picture_bytes()

    assert isinstance(await read(fetch=stumbling).read(Row("a", "a", "a")), Picture)

    def dead(location: str, span: object) -> bytes:
        raise ConnectionResetError("reset")

    refusal = await read(fetch=dead).read(Row("a", "a", "a"))
    assert isinstance(refusal, Refusal)
    assert "ConnectionResetError" in refusal.reason

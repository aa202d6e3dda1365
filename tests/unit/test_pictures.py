"""services/pictures.py."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
from open_clip.transform import image_transform
from PIL import Image

from services import pictures
from services.pictures import Preparation, open_picture, prepare, thumbnail
from sightline.errors import InvalidArgument

SIZES = [(64, 48), (333, 500), (500, 333), (224, 224), (225, 224), (31, 33), (1000, 37)]
TARGETS = [(64, 64), (224, 224), (96, 64), (64, 96)]


def noise(size: tuple[int, int], seed: int = 1) -> Image.Image:
    """A picture with both fine and coarse detail."""
    width, height = size
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


def file_of(picture: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises pixels and brings none."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    shape = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + shape + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def zip_file() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("picture.png", file_of(noise((8, 8)), "PNG"))
    return file.getvalue()


class TestPrepare:
    @pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
    @pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
    def test_equals_open_clip(self, mode: str, interpolation: str) -> None:
        """A prepared picture is bit by bit what open_clip's own transform makes of it."""
        for size in SIZES:
            for target in TARGETS:
                shape = target[0] if target[0] == target[1] else target
                theirs = image_transform(
                    shape, False, resize_mode=mode, interpolation=interpolation, fill_color=127
                ).transforms[:-2]
                expected = noise(size)
                for step in theirs:
                    expected = step(expected)
                ours = prepare(noise(size), Preparation(*target, mode, interpolation, 127))
                assert np.array_equal(ours, np.asarray(expected)), (size, target)

    def test_strips(self) -> None:
        """A strip of one by 60,000 pixels is prepared without scaling the whole of it up."""
        for mode in ("shortest", "longest", "squash"):
            for size in ((1, 60_000), (60_000, 1)):
                assert prepare(noise(size), Preparation(64, 64, mode)).shape == (64, 64, 3)

    def test_strips_equal(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The way that strips are prepared gives the same pixels as the usual one, but for rounding."""
        for size in ((3000, 40), (40, 3000)):
            for target in ((64, 64), (64, 96)):
                usual = prepare(noise(size), Preparation(*target))
                with monkeypatch.context() as patch:
                    patch.setattr(pictures, "_MAX_SCALED_PIXELS", 1)
                    strip = prepare(noise(size), Preparation(*target))
                assert np.abs(usual.astype(int) - strip).max() <= 2

    @pytest.mark.parametrize(("mode", "interpolation"), [("stretch", "bicubic"), ("squash", "nearest")])
    def test_unknown(self, mode: str, interpolation: str) -> None:
        """A preparation that nobody can do is refused when it is made."""
        with pytest.raises(ValueError, match="cannot be prepared"):
            Preparation(8, 8, mode, interpolation)


class TestOpen:
    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "BMP", "TIFF", "JPEG", "AVIF"])
    def test_formats(self, kind: str) -> None:
        """Each format that errors promise is read."""
        opened = open_picture(file_of(noise((40, 30)), kind))
        assert (opened.mode, opened.size) == ("RGB", (40, 30))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
    def test_transparent(self, kind: str) -> None:
        """What is transparent becomes white."""
        options = {"lossless": True} if kind == "WEBP" else {}
        clear = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
        clear.putpixel((0, 0), (10, 20, 30, 255))
        opened = open_picture(file_of(clear, kind, **options))
        assert opened.getpixel((3, 3)) == (255, 255, 255)
        assert opened.getpixel((0, 0)) == (10, 20, 30)

    def test_transparent_palette(self) -> None:
        """A palette with a transparent colour becomes white where that colour is."""
        picture = Image.new("P", (4, 4), 1)
        picture.putpalette([255, 0, 0, 0, 255, 0])
        picture.putpixel((0, 0), 0)
        opened = open_picture(file_of(picture, "PNG", transparency=1))
        assert opened.getpixel((0, 0)) == (255, 0, 0)
        assert opened.getpixel((3, 3)) == (255, 255, 255)

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, kind: str, orientation: int) -> None:
        """A picture that its camera turned or mirrored is turned back."""
        picture = Image.new("RGB", (32, 16), "white")
        picture.paste((255, 0, 0), (0, 0, 8, 8))
        exif = Image.Exif()
        exif[0x0112] = orientation
        opened = open_picture(file_of(picture, kind, exif=exif.tobytes()))
        corners = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
        assert opened.size == ((32, 16) if orientation < 5 else (16, 32))
        right, down = corners[orientation]
        red, green, _ = np.asarray(opened)[3 + down * (opened.height - 7), 3 + right * (opened.width - 7)]
        assert red > 200
        assert green < 60

    def test_broken_exif(self) -> None:
        """Broken metadata does not cost us a sound picture."""
        data = file_of(noise((16, 16)), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x99" * 20)
        assert open_picture(data).size == (16, 16)

    def test_first_frame(self) -> None:
        """Of an animation the first frame is read."""
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
        for kind, options in (("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {})):
            data = file_of(frames[0], kind, save_all=True, append_images=frames[1:], **options)
            assert open_picture(data).getpixel((4, 4)) == (255, 0, 0)

    def test_other_colours(self) -> None:
        """Greys, palettes, single bits and the colours of printers become RGB."""
        for mode, kind in (("L", "PNG"), ("1", "PNG"), ("P", "PNG"), ("LA", "PNG"), ("CMYK", "JPEG"), ("CMYK", "TIFF")):
            grey = open_picture(file_of(Image.new("L", (8, 8), 255).convert(mode), kind))
            assert grey.mode == "RGB"
            assert np.asarray(grey).min() > 250

    @pytest.mark.parametrize("kind", ["PNG", "TIFF"])
    def test_sixteen_bits(self, kind: str) -> None:
        """Greys of 16 bits keep their brightness."""
        deep = Image.fromarray(np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16))
        assert [pixel[0] for pixel in np.asarray(open_picture(file_of(deep, kind)))[0]] == [0, 1, 128, 255]

    def test_floats(self) -> None:
        """Greys from 0 to 1 fill the range of 8 bits, and what is no number is black."""
        data = file_of(Image.fromarray(np.array([[0.0, 0.5, 1.0, np.nan]], dtype=np.float32)), "TIFF")
        assert [pixel[0] for pixel in np.asarray(open_picture(data))[0]] == [0, 128, 255, 0]

    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
    def test_truncated(self, kind: str) -> None:
        """A file that was cut off anywhere is refused by name, never half shown."""
        data = file_of(noise((200, 200)), kind)
        for share in (0.1, 0.5, 0.9):
            with pytest.raises(InvalidArgument) as caught:
                open_picture(data[: int(len(data) * share)], field="query.image")
            assert caught.value.field == "query.image"

    def test_flipped_bytes(self) -> None:
        """A file with wrong bytes is read or refused; nothing else happens."""
        random = np.random.default_rng(7)
        for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
            whole = np.frombuffer(file_of(noise((60, 60)), kind), dtype=np.uint8)
            for _ in range(60):
                broken = whole.copy()
                broken[random.integers(0, len(whole), 4)] = random.integers(0, 256, 4)
                try:
                    assert open_picture(broken.tobytes()).mode == "RGB"
                except InvalidArgument:
                    continue

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "EMPTY_IMAGE"),
            (b"words", "NOT_AN_IMAGE"),
            (zip_file(), "NOT_AN_IMAGE"),
            (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "NOT_AN_IMAGE"),
            (file_of(noise((8, 8)), "ICO"), "NOT_AN_IMAGE"),
            (png_header(0, 8), "BROKEN_IMAGE"),
        ],
    )
    def test_no_image(self, data: bytes, reason: str) -> None:
        """What is no picture of a format that we read is refused, whatever its name says."""
        with pytest.raises(InvalidArgument) as caught:
            open_picture(data)
        assert (caught.value.field, caught.value.reason) == ("image", reason)

    def test_too_many_bytes(self) -> None:
        """A file above the limit is refused unread, and the error names the limit."""
        with pytest.raises(InvalidArgument, match="10,485,760") as caught:
            open_picture(bytes(pictures.MAX_BYTES + 1))
        assert caught.value.reason == "IMAGE_TOO_LARGE"

    @pytest.mark.parametrize("size", [(50_000, 50_000), (8_001, 8_000)])
    def test_too_many_pixels(self, size: tuple[int, int]) -> None:
        """A file that promises too many pixels is refused by its header, before any of them has a place."""
        tracemalloc.start()
        with pytest.raises(InvalidArgument, match="64,000,000") as caught:
            open_picture(png_header(*size))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert caught.value.reason == "IMAGE_TOO_LARGE"
        assert peak < 1_000_000


class TestThumbnail:
    def test_scales_down(self) -> None:
        """A thumbnail is a WebP whose longer side is 256 pixels, and keeps the proportions."""
        small = Image.open(io.BytesIO(thumbnail(noise((1024, 512)))))
        assert (small.format, small.size) == ("WEBP", (256, 128))

    def test_never_enlarges(self) -> None:
        """A picture that is small already keeps its size."""
        assert Image.open(io.BytesIO(thumbnail(noise((30, 20))))).size == (30, 20)

    def test_strip(self) -> None:
        """The thumbnail of a strip is at least a pixel wide."""
        assert Image.open(io.BytesIO(thumbnail(noise((1, 5000))))).size == (1, 256)

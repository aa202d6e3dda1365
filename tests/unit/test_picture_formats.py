"""services/pictures.py: each format and each way of storing colours, from real files, against the colours they mean."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from services import pictures
from services.pictures import open_picture
from sightline.errors import InvalidArgument

RED = (200, 30, 40)
SIZE = (32, 24)


def saved(picture: Image.Image, kind: str, **options: object) -> bytes:
    """The picture as a file."""
    file = io.BytesIO()
    picture.save(file, kind, **options)
    return file.getvalue()


def filled(colour: tuple[int, ...] = RED, mode: str = "RGB") -> Image.Image:
    """A picture of one colour."""
    return Image.new(mode, SIZE, colour)


def deep(*values: int) -> NDArray[np.uint16]:
    """A picture of one colour of 16 bits: [24, 32, channels]."""
    return np.full((SIZE[1], SIZE[0], len(values)), values, np.uint16)


def png(pixels: NDArray[np.uint16], colours: int) -> bytes:
    """A PNG of 16 bits; colours: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", *SIZE, 16, colours, 0, 0, 0))
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels: NDArray[np.generic], photometric: int, *, floats: bool = False, alpha: bool = False) -> bytes:
    """A TIFF, as is; photometric: 0 white is zero, 1 black is zero, 2 RGB, 5 CMYK."""
    height, width, channels = pixels.shape
    bits, data, formats = pixels.dtype.itemsize * 8, pixels.tobytes(), [3 if floats else 1] * channels
    shorts = {258: [bits] * channels, 259: [1], 262: [photometric], 277: [channels], 339: formats}
    longs = {256: width, 257: height, 273: 0, 278: height, 279: len(data)}
    if alpha:
        shorts[338] = [2]
    tags = sorted([*shorts, *longs])
    extra_at = 8 + 2 + 12 * len(tags) + 4
    extra, entries = b"", b""
    sizes = {tag: struct.pack(f"<{len(values)}H", *values) for tag, values in shorts.items()}
    longs[273] = extra_at + sum(len(value) for value in sizes.values() if len(value) > 4)
    for tag in tags:
        if tag in longs:
            entries += struct.pack("<HHII", tag, 4, 1, longs[tag])
            continue
        value = sizes[tag]
        if len(value) > 4:
            value, extra = struct.pack("<I", extra_at + len(extra)), extra + value
        entries += struct.pack("<HHI", tag, 3, len(shorts[tag])) + value.ljust(4, b"\0")
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + extra + data


def ycck_jpeg() -> bytes:
    """A JPEG as Photoshop writes it: inks stored upside down, three of them as luminance and colour differences."""
    inks = np.asarray(filled().convert("CMYK"))
    ycc = np.asarray(Image.fromarray(inks[..., :3].copy(), "RGB").convert("YCbCr"))
    stored = np.dstack([ycc, 255 - inks[..., 3]])
    # Pillow turns all four upside down, and says in the Adobe marker that nothing else was done to them.
    data = bytearray(saved(Image.fromarray(255 - stored, "CMYK"), "JPEG", quality=98, subsampling=0))
    data[data.index(b"Adobe") + 11] = 2
    return bytes(data)


def lab() -> Image.Image:
    """The colour as a scanner may give it."""
    profiles = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    converted = ImageCms.profileToProfile(filled(), *profiles, outputMode="LAB")
    assert converted is not None
    return converted


# By what it is: the file, and the colour that it means. Halves let the white through that is laid behind.
COLOURS: dict[str, tuple[Callable[[], bytes], tuple[int, int, int]]] = {
    "JPEG of inks": (lambda: saved(filled().convert("CMYK"), "JPEG", quality=98), RED),
    "JPEG of inks as Photoshop writes it": (ycck_jpeg, RED),
    "JPEG of greys": (lambda: saved(filled((90,), "L"), "JPEG", quality=98), (90, 90, 90)),
    "TIFF of inks": (lambda: saved(filled().convert("CMYK"), "TIFF"), RED),
    "TIFF of inks, 16 bits": (lambda: tiff(deep(0, 51400, 51400, 13107), 5), (204, 44, 44)),
    "TIFF of Lab": (lambda: saved(lab(), "TIFF"), RED),
    "TIFF of YCbCr": (lambda: saved(filled().convert("YCbCr"), "TIFF"), RED),
    "TIFF of 16 bits": (lambda: tiff(deep(51400, 7710, 10280), 2), RED),
    "TIFF of 16 bits, half clear": (lambda: tiff(deep(51400, 7710, 10280, 32896), 2, alpha=True), (227, 142, 147)),
    "TIFF of greys, 16 bits": (lambda: tiff(deep(40000), 1), (156, 156, 156)),
    "TIFF of greys, 16 bits, white is zero": (lambda: tiff(deep(40000), 0), (99, 99, 99)),
    "TIFF of greys, floats": (
        lambda: tiff(np.full((24, 32, 1), 0.5, np.float32), 1, floats=True),
        (128, 128, 128),
    ),
    "TIFF of single bits, as fax": (lambda: saved(Image.new("1", SIZE, 1), "TIFF", compression="group4"), (255,) * 3),
    "PNG of 16 bits": (lambda: png(deep(51400, 7710, 10280), 2), RED),
    "PNG of 16 bits, half clear": (lambda: png(deep(51400, 7710, 10280, 32896), 6), (227, 142, 147)),
    "PNG of greys, 16 bits": (lambda: png(deep(40000), 0), (156, 156, 156)),
    "PNG of greys, 16 bits, half clear": (lambda: png(deep(40000, 32896), 4), (205, 205, 205)),
    "PNG of greys, half clear": (lambda: saved(filled((0, 128), "LA"), "PNG"), (127, 127, 127)),
    "PNG half clear": (lambda: saved(filled((*RED, 128), "RGBA"), "PNG"), (227, 142, 147)),
    "PNG of single bits": (lambda: saved(Image.new("1", SIZE, 0), "PNG"), (0, 0, 0)),
    "PNG of a palette": (lambda: saved(filled().convert("P", palette=Image.Palette.ADAPTIVE), "PNG"), RED),
    "PNG of a palette, all clear": (
        lambda: saved(filled().convert("P", palette=Image.Palette.ADAPTIVE), "PNG", transparency=0),
        (255, 255, 255),
    ),
    "GIF": (lambda: saved(filled(), "GIF"), RED),
    "WebP half clear": (lambda: saved(filled((*RED, 128), "RGBA"), "WEBP", lossless=True), (227, 142, 147)),
    "AVIF": (lambda: saved(filled(), "AVIF", quality=95), RED),
    "AVIF half clear": (lambda: saved(filled((*RED, 128), "RGBA"), "AVIF", quality=95), (227, 142, 147)),
    "HEIC": (lambda: saved(filled(), "HEIF", quality=95), RED),
    "HEIC half clear": (lambda: saved(filled((*RED, 128), "RGBA"), "HEIF", quality=95), (227, 142, 147)),
}


@pytest.mark.parametrize("kind", COLOURS)
def test_colours_are_what_the_file_means(kind: str) -> None:
    """However a file stores its colours, they come out as what they mean, on white where it is clear."""
    make, meant = COLOURS[kind]
    opened = open_picture(make())
    assert (opened.mode, opened.size) == ("RGB", SIZE)
    assert np.abs(np.asarray(opened).astype(int) - meant).max() <= 3


def test_the_first_page_is_read() -> None:
    """Of a TIFF with several pages the first is read."""
    data = saved(filled(), "TIFF", save_all=True, append_images=[filled((0, 0, 255)), filled((0, 255, 0))])
    assert open_picture(data).getpixel((3, 3)) == RED


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_of_phones_are_upright(orientation: int) -> None:
    """An HEIC file that says how it was held is turned back, once."""
    picture = Image.new("RGB", (64, 32), "white")
    picture.paste((255, 0, 0), (0, 0, 16, 16))
    exif = Image.Exif()
    exif[0x0112] = orientation
    opened = open_picture(saved(picture, "HEIF", quality=95, exif=exif.tobytes()))
    corners = {1: (0, 0), 2: (1, 0), 3: (1, 1), 4: (0, 1), 5: (0, 0), 6: (1, 0), 7: (1, 1), 8: (0, 1)}
    assert opened.size == ((64, 32) if orientation < 5 else (32, 64))
    right, down = corners[orientation]
    red, green, _ = np.asarray(opened)[6 + down * (opened.height - 13), 6 + right * (opened.width - 13)]
    assert (red > 200, green < 60) == (True, True)


class TestReasons:
    @pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "AVIF", "HEIF"])
    @pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
    def test_what_is_cut_off_is_called_so(self, kind: str, share: float) -> None:
        """A picture that was cut off is called broken or truncated, never no picture."""
        noise = np.random.default_rng(1).integers(0, 256, (120, 160, 3), dtype=np.uint8)
        data = saved(Image.fromarray(noise), kind)
        with pytest.raises(InvalidArgument, match="broken or truncated") as caught:
            open_picture(data[: int(len(data) * share)])
        assert caught.value.reason == "BROKEN_IMAGE"
        assert "\n" not in caught.value.message

    @pytest.mark.parametrize("data", [b"GIFTS and more", b"<html>404</html>", b"BM is no bitmap", b"RIFF....WAVEfmt "])
    def test_what_is_no_picture_is_called_so(self, data: bytes) -> None:
        """Text and other files are called no image, whatever they happen to begin with."""
        with pytest.raises(InvalidArgument, match="not an image") as caught:
            open_picture(data)
        assert caught.value.reason == "NOT_AN_IMAGE"

    def test_a_missing_package_is_named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where HEIC cannot be read, an HEIC file is told what is missing."""
        data = saved(filled(), "HEIF")
        monkeypatch.setattr(pictures, "_HEIF", ())
        monkeypatch.setattr(pictures, "FORMATS", tuple(kind for kind in pictures.FORMATS if kind != "HEIF"))
        with pytest.raises(InvalidArgument, match="pillow-heif"):
            open_picture(data)

"""Image files become pictures, and pictures become what a model sees: exactly as open_clip prepares them.

Encoder and indexer share this file, so that a picture is the same to the model whichever of them read it.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from sightline.errors import InvalidArgument

try:
    from pillow_heif import register_heif_opener

    register_heif_opener()
    _HEIF: tuple[str, ...] = ("HEIF",)
except ImportError:
    _HEIF = ()

MAX_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 64_000_000
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", *_HEIF)
"""What is read. HEIF, which has HEIC, where the package pillow-heif is installed."""

Pixels = NDArray[np.uint8]

_FILTERS = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
_WHITE = (255, 255, 255, 255)
# Scaling the whole of a very long strip, to cut out its middle, would need gigabytes.
_MAX_SCALED_PIXELS = 16_000_000

# How files begin, so that what is broken is not called something else: a mark, and where it stands.
_MARKS = (
    (b"\xff\xd8\xff", 0, "JPEG"),
    (b"\x89PNG\r\n\x1a\n", 0, "PNG"),
    (b"WEBP", 8, "WEBP"),
    (b"GIF8", 0, "GIF"),
    (b"II*\0", 0, "TIFF"),
    (b"MM\0*", 0, "TIFF"),
    (b"ftypavif", 4, "AVIF"),
    (b"ftypavis", 4, "AVIF"),
    (b"ftyphei", 4, "HEIF"),
    (b"ftyphev", 4, "HEIF"),
    (b"ftypmif1", 4, "HEIF"),
    (b"ftypmsf1", 4, "HEIF"),
)
_PHOTOMETRIC, _WHITE_IS_ZERO = 262, 0

# Pillow warns of what is odd in a file: that is its sender's business, and no line of our logs.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True, slots=True)
class Preparation:
    """How a model wants its pictures.

    Attributes:
        height, width: of the prepared picture, in pixels.
        resize_mode: `shortest` side fits, then cut to the centre; `longest` fits, then padded; `squash` to the size.
        interpolation: `bicubic` or `bilinear`.
        fill: grey value, 0 to 255, that pads a `longest` picture.
    """

    height: int
    width: int
    resize_mode: str = "shortest"
    interpolation: str = "bicubic"
    fill: int = 0

    def __post_init__(self) -> None:
        if self.resize_mode not in _RESIZERS or self.interpolation not in _FILTERS:
            raise ValueError(f"pictures cannot be prepared by {self.resize_mode!r} and {self.interpolation!r}")


def open_picture(
    data: bytes, *, field: str = "image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Image.Image:
    """Decodes an image file: the first frame, upright, RGB of 8 bits a channel, on white where it is transparent.

    Args:
        data: the file.
        field: what errors name.
        max_bytes: the largest file that is looked at.
        max_pixels: the largest picture that is decoded; judged by the file's header.

    Raises:
        InvalidArgument: no image that we can read, a broken one, or too large a one.
    """
    if not data:
        raise _refused("the image is empty", "EMPTY_IMAGE", field)
    if len(data) > max_bytes:
        message = f"an image file may have {max_bytes:,} bytes at the most, got {len(data):,}"
        raise _refused(message, "IMAGE_TOO_LARGE", field)
    try:
        with Image.open(BytesIO(data), formats=FORMATS) as opened:
            _check_size(opened, max_pixels, field)
            opened.load()
            return _rgb(_upright(_black_is_zero(opened)))
    except UnidentifiedImageError as error:
        raise _unidentified(data, field) from error
    except Image.DecompressionBombError as error:
        message = f"an image may have {max_pixels:,} pixels at the most, this one has several times as many"
        raise _refused(message, "IMAGE_TOO_LARGE", field) from error
    except (InvalidArgument, MemoryError):
        raise
    except Exception as error:  # every codec has its own way of failing on a broken file
        told = " ".join(str(error).split())
        raise _refused(f"the image is broken or truncated: {told}"[:300], "BROKEN_IMAGE", field) from error


def prepare(picture: Image.Image, preparation: Preparation) -> Pixels:
    """Returns uint8 [height, width, 3]: bit by bit what open_clip's evaluation transform makes before it normalises.

    Args:
        picture: RGB, as `open_picture` returns it.
        preparation: the model's.
    """
    return np.array(_RESIZERS[preparation.resize_mode](picture, preparation))


def thumbnail(picture: Image.Image, longest: int = 256) -> bytes:
    """Returns a WebP file of the RGB picture, its longer side `longest` pixels; smaller pictures keep their size."""
    scale = min(1.0, longest / max(picture.size))
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    file = BytesIO()
    # Averaging whole pixels first, and a quicker search by the codec, take less than half of the time; the eye sees
    # no difference.
    picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=1.0).save(file, "WEBP", quality=82, method=1)
    return file.getvalue()


def _refused(message: str, reason: str, field: str) -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field=field)


def _unidentified(data: bytes, field: str) -> InvalidArgument:
    begins = next((kind for mark, at, kind in _MARKS if data.startswith(mark, at)), "")
    if begins == "HEIF" and not _HEIF:
        return _refused("a HEIF picture; reading those takes the package pillow-heif", "NOT_AN_IMAGE", field)
    if begins:
        message = f"the image is broken or truncated: it begins as {begins}, but cannot be opened"
        return _refused(message, "BROKEN_IMAGE", field)
    return _refused(f"not an image that can be read; send one of {', '.join(FORMATS)}", "NOT_AN_IMAGE", field)


def _check_size(opened: Image.Image, max_pixels: int, field: str) -> None:
    width, height = opened.size
    if width * height > max_pixels:
        message = f"an image may have {max_pixels:,} pixels at the most, this one has {width:,} × {height:,}"
        raise _refused(message, "IMAGE_TOO_LARGE", field)


def _black_is_zero(opened: Image.Image) -> Image.Image:
    """TIFF may count greys from white; of 8 bits Pillow turns them by itself, of 16 it does not."""
    if not opened.mode.startswith("I;16") or getattr(opened, "tag_v2", {}).get(_PHOTOMETRIC) != _WHITE_IS_ZERO:
        return opened
    return Image.fromarray(np.uint16(65535) - np.asarray(opened, dtype=np.uint16))


def _upright(opened: Image.Image) -> Image.Image:
    with suppress(Exception):  # broken metadata is no reason to refuse a sound picture
        ImageOps.exif_transpose(opened, in_place=True)
    return opened


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode in ("I", "F") or picture.mode.startswith("I;16"):
        picture = Image.fromarray(_eight_bits(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, _WHITE), picture).convert("RGB")
    # A copy, also where it is RGB already: what was opened is closed.
    return picture.convert("RGB") if picture.mode != "RGB" else picture.copy()


def _eight_bits(grey: NDArray[np.generic]) -> Pixels:
    """Scales grey values of 16 bits, or floats from 0 to 1, to 8 bits; values that fit into 8 bits stay."""
    values = np.nan_to_num(grey.astype(np.float64))
    brightest = values.max()
    scale = 255.0 if grey.dtype.kind == "f" and brightest <= 1 else 1 / 257 if _is_deep(grey, brightest) else 1.0
    return np.clip(np.rint(values * scale), 0, 255).astype(np.uint8)


def _is_deep(grey: NDArray[np.generic], brightest: float) -> bool:
    return grey.dtype == np.uint16 or brightest > 255


def _shortest(picture: Image.Image, to: Preparation) -> Image.Image:
    width, height = picture.size
    interpolation = _FILTERS[to.interpolation]
    if to.height == to.width:
        longer = int(to.width * max(width, height) / min(width, height))
        size = (to.width, longer) if width <= height else (longer, to.height)
    else:
        # For other shapes open_clip rounds the longer side, and always scales bicubically.
        ratio = min(height / to.height, width / to.width)
        size = (round(width / ratio), round(height / ratio))
        interpolation = Image.Resampling.BICUBIC
    left, top = round((size[0] - to.width) / 2.0), round((size[1] - to.height) / 2.0)
    cut = (left, top, left + to.width, top + to.height)
    if size[0] * size[1] <= _MAX_SCALED_PIXELS:
        return picture.resize(size, interpolation).crop(cut)
    across, down = width / size[0], height / size[1]
    box = (cut[0] * across, cut[1] * down, min(cut[2] * across, width), min(cut[3] * down, height))
    return picture.resize((to.width, to.height), interpolation, box=box)


def _longest(picture: Image.Image, to: Preparation) -> Image.Image:
    ratio = max(picture.height / to.height, picture.width / to.width)
    size = (max(1, round(picture.width / ratio)), max(1, round(picture.height / ratio)))
    canvas = Image.new("RGB", (to.width, to.height), (to.fill,) * 3)
    corner = ((to.width - size[0]) // 2, (to.height - size[1]) // 2)
    canvas.paste(picture.resize(size, _FILTERS[to.interpolation]), corner)
    return canvas


def _squash(picture: Image.Image, to: Preparation) -> Image.Image:
    return picture.resize((to.width, to.height), _FILTERS[to.interpolation])


_RESIZERS: dict[str, Callable[[Image.Image, Preparation], Image.Image]] = {
    "shortest": _shortest,
    "longest": _longest,
    "squash": _squash,
}

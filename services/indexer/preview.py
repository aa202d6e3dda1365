"""A thumbnail of what was refused, where any of it can be drawn: a look at it tells more than a reason."""

from __future__ import annotations

from io import BytesIO

from PIL import Image, ImageFile

from services.indexer.fetching import Span, fetch
from services.pictures import FORMATS, thumbnail

LIMIT = 16 << 20
PIXELS = 16_000_000
LONGEST = 128


def preview(location: str, span: Span | None = None) -> bytes:
    """A WebP file of what can be drawn of a file, however broken; empty where that is nothing.

    Not for several threads: a switch of Pillow's is set meanwhile.
    """
    if not location:
        return b""
    strict, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, True
    try:
        with Image.open(BytesIO(fetch(location, span, limit=LIMIT)), formats=FORMATS) as opened:
            if opened.width * opened.height > PIXELS:
                return b""
            return thumbnail(opened.convert("RGB"), LONGEST)
    except Exception:  # every file system and every codec fails in its own way, and a preview is a favour
        return b""
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = strict

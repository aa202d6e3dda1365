"""Where the font, the emoji list and the CLDR texts lie: the system's own files first, else the unpacked packages."""

from __future__ import annotations

import os
from pathlib import Path

DEBIAN_PACKAGES = ("fonts-noto-color-emoji", "unicode-cldr-core", "unicode-data")

_FONT = "share/fonts/truetype/noto/NotoColorEmoji.ttf"
_EMOJI_TEST = "share/unicode/emoji/emoji-test.txt"
_CLDR = "share/unicode/cldr/common"


def cache_folder() -> Path:
    """The folder that downloads and unpacked packages are kept in."""
    return Path(os.environ.get("SIGHTLINE_CACHE") or Path.home() / ".cache" / "sightline")


def font_file() -> Path:
    """Noto's colour emoji font. Raises FileNotFoundError with the command that provides it."""
    return _locate(_FONT)


def emoji_test_file() -> Path:
    """Unicode's list of emoji sequences with their groups (UTS #51, emoji-test.txt)."""
    return _locate(_EMOJI_TEST)


def cldr_folder() -> Path:
    """CLDR's `common` folder, with `annotations` and `annotationsDerived` in it."""
    return _locate(_CLDR)


def _locate(relative: str) -> Path:
    places = (Path("/usr") / relative, cache_folder() / "debian" / "usr" / relative)
    for place in places:
        if place.exists():
            return place
    wanted = " ".join(DEBIAN_PACKAGES)
    raise FileNotFoundError(f"{places[1]} is missing: run `tools/unpack_debs.sh {wanted}`")

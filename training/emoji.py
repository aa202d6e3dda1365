"""The pictures: every colour emoji of the Noto font, drawn once.

    python -m training.emoji OUT_DIR

Skin tones of one emoji count as one picture, and so do emoji that the font draws alike (the flags of France and of
Saint Martin, say).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont, features

from training import sources
from training.texts import VARIATION_SELECTOR, read_annotations

# The one size for which the font holds bitmaps, and the box that it draws them in.
FONT_SIZE = 109
GLYPH = (136, 128)
SIDE = 136
# Changes whenever the same font would give other files.
RENDERING = "square-136-on-white-2"

_SKIN_TONES = dict.fromkeys(range(0x1F3FB, 0x1F400))
_LINE = re.compile(r"(?P<codes>[0-9A-F ]+?)\s*; fully-qualified\s*# \S+ E(?P<version>[\d.]+)")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of Unicode's list: an emoji as keyboards send it, with its place in the list."""

    emoji: str
    group: str
    subgroup: str
    version: float

    @property
    def key(self) -> str:
        """Its code points without U+FE0F: how CLDR names it."""
        return self.emoji.replace(VARIATION_SELECTOR, "")


@dataclass(frozen=True, slots=True)
class Picture:
    """One distinct picture: the first emoji that is drawn so, its twins, and how many skin tones the first comes in."""

    entry: Entry
    twins: tuple[str, ...]
    skin_tones: int
    image: Image.Image

    @property
    def key(self) -> str:
        """Its code points without U+FE0F: how CLDR names it, and what the held-out rules look at."""
        return self.entry.key

    @property
    def id(self) -> str:
        """Its code points without U+FE0F in hexadecimal, joined by hyphens."""
        return picture_id(self.key)

    @property
    def caption(self) -> str:
        """Its English CLDR name."""
        return read_annotations("en")[0][self.key]


def picture_id(key: str) -> str:
    """The id of the picture with these code points (without U+FE0F)."""
    return "-".join(f"{ord(character):x}" for character in key)


def key_of(identifier: str) -> str:
    """The code points of the picture with this id."""
    return "".join(chr(int(code, 16)) for code in identifier.split("-"))


def pictures() -> tuple[Picture, ...]:
    """Every distinct picture that CLDR has an English name for, in Unicode's order; images are 136 x 136 RGBA."""
    draw = Pen(sources.font_file())
    entries = list(read_entries(sources.emoji_test_file()))
    tones = _count_tones(entries)
    named = read_annotations("en")[0]
    drawn: dict[bytes, list[Entry]] = {}
    images: dict[bytes, Image.Image] = {}
    for entry in entries:
        if entry.key in named and entry.key.translate(_SKIN_TONES) == entry.key:
            image = draw(entry.emoji)
            digest = hashlib.sha256(image.tobytes()).digest()
            drawn.setdefault(digest, []).append(entry)
            images[digest] = image
    return tuple(
        Picture(same[0], tuple(e.emoji for e in same[1:]), tones.get(same[0].key, 0), images[digest])
        for digest, same in drawn.items()
    )


class Pen:
    """Draws emoji with one font: 136 x 136 RGBA, transparent around."""

    def __init__(self, font: Path) -> None:
        # The basic layout draws joined emoji as their parts, side by side.
        if not features.check("raqm"):
            raise RuntimeError("Pillow lacks the RAQM layout engine, without which joined emoji fall apart")
        self._font = ImageFont.truetype(str(font), FONT_SIZE, layout_engine=ImageFont.Layout.RAQM)

    def __call__(self, emoji: str) -> Image.Image:
        """The emoji in the middle of its square."""
        image = Image.new("RGBA", (SIDE, SIDE), (255, 255, 255, 0))
        corner = ((SIDE - GLYPH[0]) // 2, (SIDE - GLYPH[1]) // 2)
        ImageDraw.Draw(image).text(corner, emoji, font=self._font, embedded_color=True)
        return image


def on_white(image: Image.Image) -> Image.Image:
    """The picture as it is stored, served and trained on: RGB, what is transparent turned white."""
    ground = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(ground, image).convert("RGB")


def read_entries(file: Path) -> Iterator[Entry]:
    """The fully qualified emoji of an emoji-test.txt (UTS #51), in its order."""
    group = subgroup = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# group: "):
            group = line.removeprefix("# group: ")
        elif line.startswith("# subgroup: "):
            subgroup = line.removeprefix("# subgroup: ")
        elif found := _LINE.match(line):
            emoji = "".join(chr(int(code, 16)) for code in found["codes"].split())
            yield Entry(emoji, group, subgroup, float(found["version"]))


def render(folder: Path) -> int:
    """Writes the pictures as PNG files and `images.jsonl`; returns how many. Leaves a finished folder as it is."""
    manifest, stamp = folder / "images.jsonl", folder / ".stamp"
    if manifest.exists() and stamp.exists() and stamp.read_text() == _digest_of_sources():
        lines = manifest.read_text(encoding="utf-8").splitlines()
        if all((folder / json.loads(line)["uri"]).exists() for line in lines):
            return len(lines)
    folder.mkdir(parents=True, exist_ok=True)
    found = pictures()
    for picture in found:
        on_white(picture.image).save(folder / _file_name(picture), compress_level=6)
    # Last, so that a list is only ever seen with all its files.
    _replace(manifest, "".join(json.dumps(record(p), ensure_ascii=False) + "\n" for p in found))
    _replace(stamp, _digest_of_sources())
    return len(found)


def record(picture: Picture) -> dict[str, Any]:
    """The line of `images.jsonl` for a picture: id, uri (relative to the file), caption, attributes."""
    entry = picture.entry
    return {
        "id": picture.id,
        "uri": _file_name(picture),
        "caption": picture.caption,
        "attributes": {
            "emoji": entry.emoji,
            "group": entry.group,
            "subgroup": entry.subgroup,
            "skin_tones": picture.skin_tones,
            "emoji_version": entry.version,
        },
    }


def _count_tones(entries: list[Entry]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for entry in entries:
        plain = entry.key.translate(_SKIN_TONES)
        if plain != entry.key and plain:
            counts[plain] = counts.get(plain, 0) + 1
    return counts


def _file_name(picture: Picture) -> str:
    return f"{picture.id}.png"


def _digest_of_sources() -> str:
    parts = (sources.font_file().read_bytes(), sources.emoji_test_file().read_bytes(), RENDERING.encode())
    return hashlib.sha256(b"".join(parts)).hexdigest()


def _replace(file: Path, text: str) -> None:
    fresh = file.with_name(f".{file.name}.{os.getpid()}")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(file)


def main() -> None:
    """Draws the pictures into the folder named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT_DIR")
    folder = parser.parse_args().folder
    print(f"{render(folder)} pictures in {folder}")


if __name__ == "__main__":
    main()

"""Text in any alphabet, drawn with whatever fonts the machine has."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FOLDERS = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "~/.local/share/fonts",
    "~/.fonts",
    "/System/Library/Fonts",
    "/Library/Fonts",
    "C:/Windows/Fonts",
)
"""Where systems keep their fonts."""

# Good ones first; a text is drawn with the first that has its letters. Joined scripts need a font of their own.
_FILES = (
    "NotoSans-Regular.ttf",
    "DejaVuSans.ttf",
    "LiberationSans-Regular.ttf",
    "Arial.ttf",
    "arial.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoSansDevanagari-Regular.ttf",
    "Lohit-Devanagari.ttf",
    "NotoSansThai-Regular.ttf",
    "Garuda.ttf",
    "NotoSansCJK-Regular.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "PingFang.ttc",
    "Hiragino Sans GB.ttc",
    "AppleSDGothicNeo.ttc",
    "msyh.ttc",
    "malgun.ttf",
    "Nirmala.ttf",
    "FreeSans.ttf",
    "FreeSerif.ttf",
    "Arial Unicode.ttf",
    "unifont.otf",
)
_NOWHERE = "\U0010fffe"  # a code point that no font has


class Lettering:
    """Draws and measures text of one size, each stretch of it with the first font that has its letters.

    Args:
        size: in pixels.
        folders: looked through before the system's own.
    """

    def __init__(self, size: int, folders: Iterable[Path] = ()) -> None:
        places = (*folders, *(Path(folder).expanduser() for folder in FOLDERS))
        found = [ImageFont.truetype(path, size) for path in _find(tuple(places))]
        self._fonts: Sequence[ImageFont.FreeTypeFont] = found or [_built_in(size)]
        self.height = round(size * 1.3)

    def width(self, text: str) -> float:
        """Returns the width of the text in pixels."""
        return sum(font.getlength(stretch) for font, stretch in self._stretches(text))

    def draw(self, canvas: ImageDraw.ImageDraw, place: tuple[float, float], text: str, fill: str) -> None:
        """Draws one line of text; `place` is the left end of its base line."""
        x, y = place
        for font, stretch in self._stretches(text):
            canvas.text((x, y), stretch, fill=fill, font=font, anchor="ls")
            x += font.getlength(stretch)

    def wrap(self, text: str, width: float, lines: int) -> list[str]:
        """Breaks the text into at most so many lines of that width; what is left over ends in an ellipsis."""
        broken: list[str] = []
        left = " ".join(text.split())
        while left and len(broken) < lines:
            line = self._start(left, width)
            broken.append(line.rstrip())
            left = left[len(line) :]
        if left:
            cut = f"{broken[-1]} {left}"
            broken[-1] = self._start(cut, width - self.width("…"), at_words=False).rstrip() + "…"
        return broken

    def _start(self, text: str, width: float, at_words: bool = True) -> str:
        """Returns as much of the text as fits, at least a letter; up to the end of a word where there is one."""
        end = len(text)
        while end > 1 and self.width(text[:end].rstrip()) > width:
            end -= 1
        if end < len(text) and at_words and (space := text.rfind(" ", 0, end + 1)) > 0:
            end = space + 1
        return text[:end]

    def _stretches(self, text: str) -> list[tuple[ImageFont.FreeTypeFont, str]]:
        stretches: list[tuple[ImageFont.FreeTypeFont, str]] = []
        for letter in text:
            last = stretches[-1][0] if stretches else None
            font = self._font_for(letter, last)
            if font is last:
                stretches[-1] = (font, stretches[-1][1] + letter)
            else:
                stretches.append((font, letter))
        return stretches

    def _font_for(self, letter: str, last: ImageFont.FreeTypeFont | None) -> ImageFont.FreeTypeFont:
        """Letters go by the order of fonts; spaces, accents and joiners stay with what they follow."""
        if last and unicodedata.category(letter)[0] in "MZC":
            return last
        return next((font for font in self._fonts if _has(font, letter)), self._fonts[0])


@cache
def _has(font: ImageFont.FreeTypeFont, letter: str) -> bool:
    """Whether the font has the letter: Pillow does not say, so it is drawn and compared with one that no font has."""
    return _drawn(font, letter) != _drawn(font, _NOWHERE)


@cache
def _drawn(font: ImageFont.FreeTypeFont, letter: str) -> bytes:
    image = Image.new("L", (int(font.size * 2), int(font.size * 2)))
    ImageDraw.Draw(image).text((font.size // 2, font.size // 4), letter, fill=255, font=font)
    return image.tobytes()


@cache
def _find(folders: tuple[Path, ...]) -> tuple[Path, ...]:
    there: dict[str, Path] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*.[to]t[fc]")) if folder.is_dir() else ():
            there.setdefault(path.name, path)
    return tuple(there[name] for name in _FILES if name in there)


def _built_in(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font

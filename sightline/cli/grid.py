"""Answers as one picture: a row for each query, a labelled thumbnail for each hit."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeAlias

from PIL import Image, ImageDraw, UnidentifiedImageError

from sightline.cli.fonts import Lettering

Cell: TypeAlias = tuple[bytes, str, float]
"""A thumbnail file, its caption, its score."""

Row: TypeAlias = tuple[str, Sequence[Cell]]
"""A title, usually the query, and its hits."""

_SIDE, _GAP, _MARGIN = 160, 16, 28  # pixels
_CAPTION_LINES = 2
_PAPER, _INK, _FAINT, _FRAME = "#ffffff", "#1b1f24", "#69707a", "#e3e6ea"


def draw_grid(rows: Sequence[Row], *, font_folders: Iterable[Path] = ()) -> Image.Image:
    """Draws the hits of one or more queries.

    Args:
        rows: titles with their hits. A title may be in any language that the machine's fonts can write.
        font_folders: where to look for fonts before the system's own folders.

    Returns:
        An RGB picture; a thumbnail that cannot be read is left grey.
    """
    folders = tuple(font_folders)
    title, small = Lettering(22, folders), Lettering(14, folders)
    row_height = title.height + 12 + _SIDE + 8 + small.height * (_CAPTION_LINES + 1) + _GAP
    columns = max((len(cells) for _, cells in rows), default=0)
    titles = max((title.width(words) for words, _ in rows), default=0)
    width = 2 * _MARGIN + max(columns * (_SIDE + _GAP) - _GAP, round(titles), _SIDE)
    paper = Image.new("RGB", (width, 2 * _MARGIN + max(len(rows) * row_height - _GAP, _GAP)), _PAPER)
    for number, (words, cells) in enumerate(rows):
        top = _MARGIN + number * row_height
        title.draw(ImageDraw.Draw(paper), (_MARGIN, top + title.height * 0.75), words, _INK)
        for column, cell in enumerate(cells):
            _draw_cell(paper, _MARGIN + column * (_SIDE + _GAP), top + title.height + 12, cell, small)
    return paper


def _draw_cell(paper: Image.Image, left: int, top: int, cell: Cell, lettering: Lettering) -> None:
    file, caption, score = cell
    canvas = ImageDraw.Draw(paper)
    canvas.rounded_rectangle((left, top, left + _SIDE - 1, top + _SIDE - 1), 10, fill=_PAPER, outline=_FRAME)
    picture = _thumbnail(file)
    corner = (left + (_SIDE - picture.width) // 2, top + (_SIDE - picture.height) // 2)
    paper.paste(picture, corner, picture)
    base = top + _SIDE + 8 + lettering.height * 0.75
    lettering.draw(canvas, (left, base), f"{score:.3f}", _FAINT)
    for line, words in enumerate(lettering.wrap(caption, _SIDE, _CAPTION_LINES), 1):
        lettering.draw(canvas, (left, base + line * lettering.height), words, _INK)


def _thumbnail(file: bytes) -> Image.Image:
    """Returns the picture, RGBA, no larger than its frame."""
    inside = _SIDE - 16
    try:
        picture = Image.open(io.BytesIO(file)).convert("RGBA")
    except (UnidentifiedImageError, OSError):
        return Image.new("RGBA", (inside, inside), _FRAME)
    picture.thumbnail((inside, inside), Image.Resampling.LANCZOS)
    return picture

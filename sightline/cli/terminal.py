"""Pictures drawn in the terminal itself, where it can: kitty graphics, sixels, or half blocks."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from PIL import Image, UnidentifiedImageError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sightline.printable import printable

CELL = 18
"""Columns of the terminal that one picture takes."""


def can_draw() -> bool:
    """Whether a person looks at a terminal that knows its size and can be asked what it is able to draw."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        return False
    return os.get_terminal_size(sys.stdout.fileno()).columns > 0


def draw_pictures(console: Console, pictures: Sequence[tuple[bytes, str]]) -> None:
    """Draws image files with a label each, as many in a row as fit. Files that cannot be read are left out."""
    from textual_image.renderable import Image as Picture  # noqa: PLC0415  asks the terminal what it can at import

    readable = [(opened, label) for file, label in pictures if (opened := _open(file))]
    in_a_row = max(console.width // (CELL + 2), 1)
    for first in range(0, len(readable), in_a_row):
        row = readable[first : first + in_a_row]
        table = Table.grid(padding=(0, 2, 0, 0))
        for _ in row:
            table.add_column(width=CELL, overflow="ellipsis", no_wrap=True)
        table.add_row(*(Picture(opened, width=CELL, height="auto") for opened, _ in row))
        table.add_row(*(escape(printable(label)) for _, label in row))
        console.print(table)


def _open(file: bytes) -> Image.Image | None:
    try:
        return Image.open(io.BytesIO(file)).convert("RGBA")
    except (UnidentifiedImageError, OSError):
        return None

"""Results as plain tables for terminals, and as HTML for notebooks. Whatever is foreign is text there, and no more."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

from sightline.printable import printable

if TYPE_CHECKING:
    from sightline.results import Collection, SearchResult, StoredImage

WIDEST = 60  # columns of a terminal that one cell may take
_SIDE = 128  # pixels of a thumbnail in a notebook
_FIGURE = f"display:inline-block;width:{_SIDE + 16}px;margin:4px;vertical-align:top;text-align:center"
_PICTURE = f"max-width:{_SIDE}px;max-height:{_SIDE}px"
_CAPTION = "font-size:85%;overflow-wrap:anywhere"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Returns the rows in columns that are as wide as they must be, without spaces at the ends of lines."""
    lines = [[_cut(printable(cell)) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*lines, strict=True)]
    padded = ([cell + " " * (w - _width(cell)) for cell, w in zip(line, widths, strict=True)] for line in lines)
    return "\n".join("  ".join(line).rstrip() for line in padded)


def result_as_text(result: SearchResult) -> str:
    """Returns the hits, one a line, and a line that says how the answer came about."""
    rows = [("#", "score", "id", "caption", "uri")] if result.hits else []
    rows += [
        (str(rank), f"{hit.score:.3f}", hit.id, hit.image.caption, hit.image.uri) for rank, hit in enumerate(result, 1)
    ]
    degraded = [printable(f"! {one.message} ({one.reason})") for one in result.degraded]
    return "\n".join([*([table(rows)] if rows else []), *degraded, result.summary])


def result_as_html(result: SearchResult) -> str:
    """Returns the hits as pictures side by side, where they have thumbnails, and as a table otherwise."""
    if any(hit.thumbnail for hit in result):
        shown = "".join(
            _figure(hit.thumbnail, hit.image.caption or hit.id, f"{hit.score:.3f}", f"{hit.id} {hit.image.uri}")
            for hit in result
        )
    else:
        rows = ((f"{hit.score:.3f}", hit.id, hit.image.caption, hit.image.uri) for hit in result)
        shown = _html_table(rows)
    degraded = (f"{one.message} ({one.reason})" for one in result.degraded)
    lines = "".join(f"<div>{_safe(line)}</div>" for line in [*degraded, result.summary])
    return f"<div>{shown}{lines}</div>"


def stored_as_text(stored: StoredImage) -> str:
    """Returns what is known of an image, one field a line."""
    return table(_fields(stored))


def stored_as_html(stored: StoredImage) -> str:
    """Returns the picture, where it came along, and what is known of it."""
    shown = _figure(stored.thumbnail, "", "", stored.image.id) if stored.thumbnail else ""
    return f"<div>{shown}{_html_table(_fields(stored))}</div>"


def collection_as_text(collection: Collection) -> str:
    """Returns what a collection is, and its attributes, one a line."""
    return table(_facts(collection))


def collection_as_html(collection: Collection) -> str:
    """Returns the same as a table."""
    return _html_table(_facts(collection))


def _fields(stored: StoredImage) -> Iterator[tuple[str, str]]:
    one = stored.image
    yield "id", one.id
    yield "caption", one.caption
    yield "uri", one.uri
    yield "size", f"{one.width} × {one.height}"
    for name, value in sorted(one.attributes.items()):
        yield name, ", ".join(value) if isinstance(value, tuple) else str(value)
    yield "generation", str(stored.generation)


def _facts(one: Collection) -> Iterator[tuple[str, str]]:
    yield "collection", one.name
    yield "images", f"{one.images:,} in {one.shards} shards"
    yield "model", f"{one.model.name} {one.model.digest[:8]} ({one.model.dimension})"
    yield "index", one.index
    yield "generation", str(one.generation)
    for attribute in one.attributes:
        yield attribute.name, f"{attribute.type} of {attribute.images:,} images"


def _figure(thumbnail: bytes, caption: str, score: str, title: str) -> str:
    source = f"data:image/webp;base64,{base64.b64encode(thumbnail).decode()}"
    picture = f'<img src="{source}" alt="{_safe(caption)}" style="{_PICTURE}">' if thumbnail else ""
    words = f'<figcaption style="{_CAPTION}">{_safe(f"{score} {caption}".strip())}</figcaption>'
    return f'<figure style="{_FIGURE}" title="{_safe(title)}">{picture}{words}</figure>'


def _html_table(rows: Iterable[Sequence[str]]) -> str:
    lines = ("".join(f"<td>{_safe(cell)}</td>" for cell in row) for row in rows)
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _safe(text: str) -> str:
    return escape(printable(text))


def _width(text: str) -> int:
    """Columns of a terminal that a text takes: two for wide letters, none for what joins the letter before it."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def _cut(text: str) -> str:
    if _width(text) <= WIDEST:
        return text
    while _width(text) >= WIDEST:
        text = text[: min(len(text) - 1, WIDEST)]
    return text + "…"

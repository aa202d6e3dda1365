"""What a caller may say of a source on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from services.indexer.schema import TYPES
from services.indexer.sources import KINDS, SourceOptions
from sightline.errors import InvalidArgument

SourceUrl = Annotated[str, typer.Argument(help="Folder, table, archives or embeddings: a path or any fsspec URL.")]
Kind = Annotated[str, typer.Option("--source-kind", help=f"{', '.join(KINDS)}; found out if not said.")]
UriColumn = Annotated[str, typer.Option(help="Column of the pictures' addresses; uri, url, image, path … if not said.")]
IdColumn = Annotated[str, typer.Option(help="Column of ids; id if not said, and the address where there is none.")]
CaptionColumn = Annotated[str, typer.Option(help="Column of captions; caption, text, title … if not said.")]
Attributes = Annotated[
    list[str] | None,
    typer.Option("--attribute", help="NAME or NAME:TYPE: take this column, and only such; may be repeated."),
]
Types = Annotated[
    list[str] | None,
    typer.Option("--type", help=f"NAME:TYPE: read this column as {', '.join(TYPES)}; may be repeated."),
]


def source_options(
    *,
    kind: str,
    uri_column: str,
    id_column: str,
    caption_column: str,
    attribute: Sequence[str] | None,
    typed: Sequence[str] | None,
) -> SourceOptions:
    """The options as a source takes them.

    Raises:
        InvalidArgument: a type is none, or missing where one must be.
    """
    chosen = [_parsed(given) for given in attribute or ()]
    declared = [_parsed(given) for given in typed or ()]
    if bare := [name for name, kind in declared if not kind]:
        raise InvalidArgument(f"must be NAME:TYPE with one of {', '.join(TYPES)}, not {bare[0]!r}", field="--type")
    return SourceOptions(
        kind=kind,
        uri=uri_column,
        id=id_column,
        caption=caption_column,
        attributes=tuple(name for name, _ in chosen) or None,
        types={name: kind for name, kind in (*chosen, *declared) if kind},
    )


def _parsed(given: str) -> tuple[str, str]:
    """A name, and its type where the last colon is before one: names may have colons of their own."""
    name, colon, kind = given.rpartition(":")
    return (name, kind) if colon and kind in TYPES else (given, "")

"""What a caller may say of a source and of a build on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
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
WorkUrl = Annotated[str, typer.Option("--work", help="Folder or URL for what stages leave; in the store if not said.")]
EncoderNames = Annotated[
    str, typer.Option("--encoder", envvar="SIGHTLINE_ENCODERS", help="host:port,… of the encoders.")
]
Shards = Annotated[int, typer.Option(min=1, max=4096, help="Shards that the images are spread over.")]
Index = Annotated[str, typer.Option(help="FAISS factory string; Flat is exact.")]
Scope = Annotated[str, typer.Option(help="What all pictures are, where the model is for that alone.")]
ChunkRows = Annotated[int, typer.Option("--chunk", min=1, max=65_536, help="Rows that are begun again as one.")]
Restart = Annotated[bool, typer.Option("--restart", help="Throw away what an earlier run has left.")]
Tidy = Annotated[
    bool, typer.Option("--tidy", help="`prune`, and remove what failed builds left beside the work folder.")
]
KeepWork = Annotated[bool, typer.Option("--keep-work", help="Keep the work folder.")]
ReportFile = Annotated[Path | None, typer.Option("--report", help="File for the report, too.")]
Errors = Annotated[str | None, typer.Option(help="File for all that is left out: JSONL of uri, reason.")]
Workers = Annotated[int, typer.Option(min=1, max=256, help="Threads that read and decode.")]
InFlight = Annotated[int, typer.Option(min=1, max=256, help="Batches with the encoders at a time.")]
Part = Annotated[str, typer.Option("--part", help="i/n: the share of process i of n, counted from 0.")]


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

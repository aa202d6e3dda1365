"""Picture files of a pool, named as the indexer names them: a folder, or a JSONL file with a line for each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import fsspec
from PIL import Image

from services import pictures
from services.indexer.rows import Refusal, Row
from services.indexer.sources import open_source
from sightline.errors import InvalidArgument, SightlineError, Unavailable
from training.evaluation.lines import BadLine


def read_rows(source: Path) -> Iterator[Row]:
    """Rows of what `python -m services.indexer build` takes, with the same ids.

    Raises:
        BadLine: a line is wrong, or an id comes twice.
        SightlineError: there is nothing at `source`, or nothing that can be read.
    """
    seen: dict[str, int] = {}
    for item in open_source(str(source)).items:
        if isinstance(item, Refusal):
            raise BadLine(source, item.line, "", item.reason)
        if item.id in seen:
            raise BadLine(source, item.line, "id", f"{item.id!r} is that of line {seen[item.id]} already")
        seen[item.id] = item.line
        yield item


def locations(rows: Iterable[Row]) -> dict[str, str]:
    """Where each picture is, by id; anything that fsspec opens."""
    return {row.id: row.location for row in rows}


def open_file(location: str) -> Image.Image:
    """The picture as the encoder sees it. Raises SightlineError, which names the file."""
    try:
        with fsspec.open(location, "rb") as file:
            data = file.read()
    except OSError as exc:
        raise Unavailable(f"{location} cannot be read: {exc.strerror or exc}") from exc
    try:
        return pictures.open_picture(data)
    except InvalidArgument as exc:
        raise InvalidArgument(f"{location}: {exc.message}", reason=exc.reason) from exc


def thumbnails(files: Mapping[str, str], ids: Iterable[str]) -> dict[str, bytes]:
    """WebP files of at most 256 pixels a side, by id, of those pictures that there are and that can be read."""
    found = {}
    for identifier in ids:
        if identifier in files:
            with suppress(SightlineError):
                found[identifier] = pictures.thumbnail(open_file(files[identifier]))
    return found

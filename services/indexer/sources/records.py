"""A record of a table becomes a row, whatever the table is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.indexer.places import Place
from services.indexer.rows import Refusal, Row
from services.indexer.sources.checks import CAPTION_LIMIT, URI_LIMIT, attributes_of, id_of, text_of
from services.indexer.sources.columns import Columns
from sightline.errors import InvalidArgument, SightlineError


def row_of(record: Mapping[str, Any], columns: Columns, table: Place, line: int) -> Row | Refusal:
    """The row that a record of a table of addresses names, or why it is none."""
    try:
        uri = text_of(record, columns.uri, URI_LIMIT)
        if not uri:
            raise InvalidArgument("missing or empty", field=columns.uri or "uri")
        return Row(
            id=id_of(record, columns.id) or uri,
            uri=uri,
            location=table.beside(uri),
            caption=text_of(record, columns.caption, CAPTION_LIMIT),
            attributes=attributes_of({name: record[name] for name in columns.of(record)}, columns.types),
            line=line,
        )
    except SightlineError as exc:
        return Refusal(_named(record, columns, table), str(exc), line)


def _named(record: Mapping[str, Any], columns: Columns, table: Place) -> str:
    """What a refused record calls its picture, where that can be told; else the table."""
    uri = record.get(columns.uri)
    return uri if isinstance(uri, str) and 0 < len(uri) <= URI_LIMIT and uri.isprintable() else table.url
